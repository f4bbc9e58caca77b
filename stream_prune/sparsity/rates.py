"""Learning-rate multipliers that leave ``lr`` to the user and to schedulers."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class RateMultiplier:
    """Multiplies ``lr`` while the optimizer steps, and only then.

    Between steps ``lr`` is what the user or a scheduler set, so schedules neither undo nor
    compound the multiplier, and an optimizer state saved between steps holds the plain rate.

    Args:
        optimizer: the optimizer to accompany.
        scaled: indices of the parameter groups to scale.
    """

    def __init__(self, optimizer: Optimizer, scaled: frozenset[int]) -> None:
        self.value = 1.0
        self._scaled = scaled
        self._plain: dict[int, float | Tensor] = {}
        self._handles = (
            optimizer.register_step_pre_hook(self._raise),
            optimizer.register_step_post_hook(self._restore),
        )

    def remove(self) -> None:
        """Stop accompanying the optimizer."""
        for handle in self._handles:
            handle.remove()

    def _raise(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._restore(optimizer, args, kwargs)  # a step that failed half-way left it raised
        if self.value == 1.0:
            return
        for index in self._scaled:
            group = optimizer.param_groups[index]
            self._plain[index] = group["lr"]
            group["lr"] = group["lr"] * self.value

    def _restore(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        del args, kwargs
        for index, plain in self._plain.items():
            optimizer.param_groups[index]["lr"] = plain
        self._plain.clear()
