"""Drift detection on a model's loss: slices, a detector, a cooldown."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stream_prune.drift.cusum import Cusum
from stream_prune.drift.detector import Detector
from stream_prune.drift.slices import Slices
from stream_prune.errors import ConfigError
from stream_prune.stateful import State

Values = npt.NDArray[Any] | Tensor

_EPSILON = 1e-7


class DriftSignal(NamedTuple):
    """What one batch told.

    Attributes:
        alarm: the loss has changed.
        severity: the shift in standard deviations of the slice loss (positive: it rose); 0 without
            an alarm.
        value: mean loss of the latest slice, NaN before the first.
        slices: slices completed so far.
    """

    alarm: bool
    severity: float
    value: float
    slices: int


class DriftMonitor:
    """Feeds a detector with the mean loss of slices of equal size.

    Args:
        detector: default: :class:`Cusum`.
        slice_rows: labelled examples per slice.
        cooldown_rows: examples that the detector does not see at the start, after an alarm and
            after a reset: the loss moves then for reasons of its own.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        detector: Detector | None = None,
        slice_rows: int = 512,
        cooldown_rows: int = 8192,
    ) -> None:
        if slice_rows < 1 or cooldown_rows < 0:
            raise ConfigError(
                f"drift: slice_rows = {slice_rows} must be positive and "
                f"cooldown_rows = {cooldown_rows} not negative"
            )
        self.detector: Detector = detector if detector is not None else Cusum()
        self._slices = Slices(slice_rows)
        self._cooldown_rows = cooldown_rows
        self._waiting = cooldown_rows
        self._value = math.nan
        self._count = 0

    def observe(self, labels: Values, scores: Values) -> DriftSignal:
        """Take in a batch by its logloss.

        Args:
            labels: [B] 0 or 1; NaN where unknown: these examples are left out.
            scores: [B] probabilities given before the batch was learned.
        """
        known, predicted = _array(labels), _array(scores)
        mask = ~np.isnan(known)
        if not mask.all():
            known, predicted = known[mask], predicted[mask]
        predicted = predicted.clip(_EPSILON, 1 - _EPSILON)
        return self._take(-np.log(np.where(known > 0.5, predicted, 1 - predicted)))

    def observe_loss(self, loss: float, rows: int) -> DriftSignal:
        """Take in a batch by its mean loss, for each of its ``rows`` examples."""
        return self._take(np.full(rows, loss, dtype=np.float64))

    def reset(self) -> None:
        """Start anew, after a cooldown: the model itself has been changed."""
        self.detector.reset()
        self._slices.clear()
        self._waiting = self._cooldown_rows

    def _take(self, losses: npt.NDArray[np.float64]) -> DriftSignal:
        skipped = min(self._waiting, len(losses))
        self._waiting -= skipped
        alarm = False
        for mean in self._slices.add(losses[skipped:]):
            self._value = mean
            self._count += 1
            if self._waiting == 0 and self.detector.update(mean):
                alarm = True
                self._waiting = self._cooldown_rows
        if alarm:
            self._slices.clear()
        severity = self.detector.severity if alarm else 0.0
        return DriftSignal(alarm, severity, self._value, self._count)

    def state_dict(self) -> State:
        detector = {f"detector/{key}": value for key, value in self.detector.state_dict().items()}
        return {
            "kind": type(self.detector).__name__,
            "waiting": self._waiting,
            "value": self._value,
            "slices": self._count,
            "slice_count": self._slices.count,
            "slice_total": self._slices.total,
            **detector,
        }

    def load_state_dict(self, state: State) -> None:
        """Raises ConfigError when the state is another detector's."""
        kind = type(self.detector).__name__
        if state["kind"] != kind:
            raise ConfigError(
                f"saved drift detection: its detector is {state['kind']!r}, not {kind}"
            )
        values: dict[str, Any] = dict(state)
        self._waiting, self._count = int(values["waiting"]), int(values["slices"])
        self._value = float(values["value"])
        self._slices.count = int(values["slice_count"])
        self._slices.total = float(values["slice_total"])
        self.detector.load_state_dict(
            {
                key.removeprefix("detector/"): value
                for key, value in state.items()
                if key.startswith("detector/")
            }
        )


def _array(values: Values) -> npt.NDArray[np.float64]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
