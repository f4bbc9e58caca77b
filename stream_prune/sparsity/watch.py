"""What the controller needs of drift detection, whoever does it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt
from torch import Tensor

from stream_prune.stateful import State

Values = npt.NDArray[Any] | Tensor
"""One number per example: [B]."""


class Signal(Protocol):
    """What a drift monitor answers."""

    @property
    def alarm(self) -> bool: ...

    @property
    def severity(self) -> float: ...

    @property
    def value(self) -> float: ...


class Monitor(Protocol):
    """A drift monitor, such as ``stream_prune.drift.DriftMonitor``."""

    def observe(self, labels: Values, scores: Values) -> Signal: ...

    def observe_loss(self, loss: float, rows: int) -> Signal: ...

    def reset(self) -> None: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...
