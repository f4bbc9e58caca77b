"""The masks of live parameters, and everything that is held at zero by them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import RunError
from stream_prune.sparsity.optimizer_state import element_states, first_value

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Masks:
    """Holds weights at zero, and the gradients and optimizer state that would move them.

    In use a mask has an integer of the weight's width per weight, all ones or all zeros, and is
    applied by a bitwise and: one pass in place, several times faster than with a mask of bools, and
    what it removes is +0 even where it was NaN or infinite. At rest it is one bit per weight.

    Args:
        params: the masked parameters by name.
        kept: the kept weights of each, bool of its shape, on any device.
    """

    def __init__(self, params: Mapping[str, nn.Parameter], kept: Mapping[str, Tensor]) -> None:
        self._params = dict(params)
        self._words: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        for name in params:
            self.put(name, kept[name])

    def kept(self, name: str) -> Tensor:
        """The kept weights: bool of the parameter's shape, on its device."""
        return self._words[name] != 0

    def put(self, name: str, kept: Tensor) -> None:
        """Set a mask; weights follow when it is applied."""
        param = self._params[name]
        word = _INTEGERS[param.element_size()]
        self._words[name] = -kept.to(param.device, word)  # -1 is all ones
        self.counts[name] = int(kept.sum())

    @torch.no_grad()
    def apply_to_weights(self) -> None:
        """W <- W * M."""
        for name, param in self._params.items():
            _and(param, self._words[name])

    @torch.no_grad()
    def apply_to_gradients(self) -> None:
        """G <- G * M, so that the optimizer gathers no state for weights that are not there.

        Raises:
            RunError: a gradient is a sparse tensor.
        """
        for name, param in self._params.items():
            if param.grad is None:
                continue
            if param.grad.layout != torch.strided:
                raise RunError(
                    f"parameter {name!r}: its gradient is sparse ({param.grad.layout}) and cannot "
                    "be masked; build the embedding with sparse=False or leave it out of `params`"
                )
            _and(param.grad, self._words[name])

    def check(self, name: str, optimizer: Optimizer) -> None:
        """Raises RunError where :meth:`renew` would find state that is not element-wise."""
        element_states(optimizer, name, self._params[name])

    @torch.no_grad()
    def renew(self, name: str, survivors: Tensor, optimizer: Optimizer) -> None:
        """Set everything but the survivors to zero, and the optimizer's state of it to the first.

        That is zero, except for Adagrad's sums, which begin at ``initial_accumulator_value``.
        Step counters belong to the whole tensor and stay.
        """
        param = self._params[name]
        gone = ~survivors
        for key, value in element_states(optimizer, name, param).items():
            value.masked_fill_(gone, first_value(optimizer, param, key))
        param.masked_fill_(gone, 0.0)


def _and(tensor: Tensor, word: Tensor) -> None:
    tensor.detach().view(word.dtype).bitwise_and_(word)
