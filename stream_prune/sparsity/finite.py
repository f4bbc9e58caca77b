"""Gradients that are not finite never reach the weights: their step is dropped and counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError, DivergedError
from stream_prune.stateful import State


class FiniteSteps:
    """Looks at all gradients when the optimizer is about to step, and drops what is not finite.

    Of a dropped step every gradient is set to None, so that nothing moves: no weight, no moment, no
    step counter, no weight decay. It takes one sum per gradient; on a GPU one fused pass of norms
    and a wait for its result. Make it before anything else that hooks into the optimizer's step:
    what comes after it sees no gradient then.

    Where a ``torch.amp.GradScaler`` is in use it drops steps by itself, to lower its scale. Those
    never come here, or (fused optimizers) are none of the dropped ones. What a closure given to
    ``optimizer.step`` computes is not seen.

    Args:
        model: names the parameters.
        optimizer: whose steps are looked at.
        limit: steps dropped one after the other that are too many.

    Attributes:
        dropped: steps dropped since the start.

    Raises:
        ConfigError: the limit is below 1.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, limit: int) -> None:
        if limit < 1:
            raise ConfigError(f"max_dropped_steps = {limit}: must be at least 1")
        self.dropped = 0
        self._limit = limit
        self._names = {id(param): name for name, param in model.named_parameters()}
        self._told = self._in_a_row = 0
        self._first = ""
        optimizer.register_step_pre_hook(self._before_step)

    def take(self) -> int:
        """Steps dropped since the last call.

        Raises:
            DivergedError: too many were dropped one after the other.
        """
        if self._in_a_row >= self._limit:
            raise DivergedError(
                f"{self._in_a_row} optimizer steps in a row were dropped because gradients were "
                f"not finite, first that of parameter {self._first!r}; the model is as it was "
                "before them: go back to an earlier checkpoint, lower the learning rate, clip "
                "gradients, or look for values in the data that are not finite"
            )
        new, self._told = self.dropped - self._told, self.dropped
        return new

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        del args, kwargs
        params = [
            param
            for group in optimizer.param_groups
            for param in group["params"]
            if param.grad is not None
        ]
        if not params:
            return
        found = getattr(optimizer, "found_inf", None)  # a GradScaler's word to a fused optimizer
        scaled_out = found is not None and float(found) > 0
        if not scaled_out:
            gradients = [stored(param.grad) for param in params]
            if _all_finite(gradients):
                self._in_a_row = 0
                return
            # A sum or a norm may overflow where no gradient has.
            bad = next((i for i, grad in enumerate(gradients) if not _finite(grad)), None)
            if bad is None:
                self._in_a_row = 0
                return
            if not self._in_a_row:
                self._first = self._names.get(id(params[bad]), "(of another model)")
            self._in_a_row += 1
            self.dropped += 1
        for param in params:
            param.grad = None

    def state_dict(self) -> State:
        return {
            "dropped": self.dropped,
            "told": self._told,
            "in_a_row": self._in_a_row,
            "first": self._first,
        }

    def load_state_dict(self, state: State) -> None:
        numbers: dict[str, Any] = dict(state)
        self.dropped, self._told = int(numbers["dropped"]), int(numbers["told"])
        self._in_a_row, self._first = int(numbers["in_a_row"]), str(numbers["first"])


def stored(gradient: Tensor) -> Tensor:
    """What is stored of a gradient, dense or sparse."""
    if gradient.layout == torch.strided:
        return gradient
    return gradient._values() if gradient.layout == torch.sparse_coo else gradient.values()


def _all_finite(gradients: list[Tensor]) -> bool:
    """Sums, which are the fastest on a CPU; elsewhere norms, of all gradients in one pass."""
    total = sum(float(grad.sum()) for grad in gradients if grad.device.type == "cpu")
    others = [grad for grad in gradients if grad.device.type != "cpu" and grad.numel()]
    norms = list(torch._foreach_norm(others)) if others else []
    parts = _by_device(norms)
    return math.isfinite(total) and all(bool(torch.isfinite(part).all()) for part in parts)


def _by_device(norms: list[Tensor]) -> Iterator[Tensor]:
    for device in dict.fromkeys(norm.device for norm in norms):
        yield torch.stack([norm.float() for norm in norms if norm.device == device])


def _finite(gradient: Tensor) -> bool:
    return bool(torch.isfinite(gradient).all())
