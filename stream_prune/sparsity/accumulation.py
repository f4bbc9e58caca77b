"""Gradient accumulation: nothing is resized while gradients wait for the optimizer."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from stream_prune.errors import RunError
from stream_prune.sparsity.finite import stored
from stream_prune.sparsity.watch import Signal
from stream_prune.stateful import State

_PATIENCE = 3  # optimizer steps; where the loop is right one is enough


class Alarm(NamedTuple):
    """A signal of the drift monitor that has to wait."""

    severity: float
    value: float
    alarm: bool = True


class Accumulation:
    """Tells gradients that the optimizer has applied from those that it has yet to apply.

    A resize drops gradients, so the end of a window waits until there are none pending: where the
    controller is called on every micro-batch, for the call after the next optimizer step.

    Args:
        optimizer: applies the gradients.

    Attributes:
        alarm: that waits, too; whoever has answered it sets it to None.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.alarm: Alarm | None = None
        self._optimizer = optimizer
        self._applied: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._steps = 0
        self._waited_from: int | None = None
        optimizer.register_step_post_hook(self._after_step)

    def remember(self, alarm: Signal | None) -> None:
        """An alarm that ends the window as soon as that is possible."""
        if alarm is not None:
            self.alarm = Alarm(float(alarm.severity), float(alarm.value))

    def applied(self) -> bool:
        """Whether no gradient is pending.

        Raises:
            RunError: whenever it is asked there are some, though the optimizer steps.
        """
        if not any(self._pending(param.grad, id(param)) for param in self._params()):
            self._waited_from = None
            return True
        if self._waited_from is None:
            self._waited_from = self._steps
        if self._steps - self._waited_from >= _PATIENCE:
            raise RunError(
                f"controller.step: gradients have been pending at every call over {_PATIENCE} "
                "optimizer steps, so the model cannot be resized without losing some: call it "
                "after optimizer.step() and before the next backward()"
            )
        return False

    def _params(self) -> list[Tensor]:
        return [param for group in self._optimizer.param_groups for param in group["params"]]

    def _pending(self, gradient: Tensor | None, param: int) -> bool:
        if gradient is None:
            return False
        known, version = self._applied.get(param, (None, -1))
        if known is not None and known() is gradient and version == gradient._version:
            return False
        return bool(stored(gradient).any())  # zero_grad(set_to_none=False) leaves zeros

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        del optimizer, args, kwargs
        self._steps += 1
        self._applied = {
            id(param): (weakref.ref(param.grad), param.grad._version)
            for param in self._params()
            if param.grad is not None
        }

    def state_dict(self) -> State:
        return {} if self.alarm is None else {"severity": self.alarm[0], "value": self.alarm[1]}

    def load_state_dict(self, state: State) -> None:
        waiting: dict[str, Any] = dict(state)
        self.alarm = Alarm(**waiting) if waiting else None
        self._waited_from = None
