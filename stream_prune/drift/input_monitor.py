"""Drift detection without labels: on what comes in, and on what the model makes of it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.drift.cusum import Cusum
from stream_prune.drift.detector import Detector
from stream_prune.errors import ConfigError
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int64]


class Statistic(Protocol):
    """Makes a number of a slice: the greater, the less it resembles those before.

    Attributes:
        of_model: it looks at scores, so it changes with the model too.
    """

    of_model: bool

    def of_rows(self, dense: Floats, ids: Ids, scores: Floats) -> float:
        """Rows of a slice: dense [n, N], ids [F, n], scores [n]."""
        ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class InputMonitor:
    """Feeds a detector with a statistic of slices of equal size, as soon as events are scored.

    Args:
        statistic: see :class:`Statistic`.
        detector: by default a :class:`Cusum` for rising values.
        slice_rows: examples per slice.
        burn_in: slices that the detector does not see at the start.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        statistic: Statistic,
        detector: Detector | None = None,
        slice_rows: int = 512,
        burn_in: int = 32,
    ) -> None:
        if slice_rows < 1 or burn_in < 0:
            raise ConfigError(
                f"drift.inputs: slice_rows = {slice_rows} must be positive and burn_in = {burn_in} "
                "not negative"
            )
        self.statistic = statistic
        self.detector: Detector = detector if detector is not None else Cusum(rising_only=True)
        self._slice_rows, self._burn_in = slice_rows, burn_in
        self._slices = 0
        self._waiting: list[tuple[Floats, Ids, Floats]] = []

    @property
    def severity(self) -> float:
        """Of the last alarm, in standard deviations of the statistic."""
        return self.detector.severity

    def observe(self, dense: Floats, ids: Ids, scores: Floats) -> bool:
        """Take in rows as they are scored; True when they have changed.

        Args:
            dense: [B, N].
            ids: [F, B].
            scores: [B] probabilities.
        """
        self._waiting.append((dense, ids, scores))
        rows = sum(len(part[2]) for part in self._waiting)
        if rows < self._slice_rows:
            return False
        dense, ids, scores = self._joined()
        alarm, start = False, 0
        while rows - start >= self._slice_rows:
            part = slice(start, start + self._slice_rows)
            value = self.statistic.of_rows(dense[part], ids[:, part], scores[part])
            self._slices += 1
            if self._slices > self._burn_in and self.detector.update(value):
                alarm = True
            start = part.stop
        self._waiting = [(dense[start:], ids[:, start:], scores[start:])]
        return alarm

    def reset(self) -> None:
        """Start anew: there was an alarm, or the model itself has been changed."""
        self.detector.reset()

    def _joined(self) -> tuple[Floats, Ids, Floats]:
        dense, ids, scores = zip(*self._waiting, strict=True)
        return np.concatenate(dense), np.concatenate(ids, axis=1), np.concatenate(scores)

    def state_dict(self) -> State:
        nothing = np.empty((0, 0)), np.empty((0, 0), np.int64), np.empty(0)
        dense, ids, scores = self._joined() if self._waiting else nothing
        return {
            "slices": self._slices,
            "dense": torch.from_numpy(np.ascontiguousarray(dense)),
            "ids": torch.from_numpy(np.ascontiguousarray(ids)),
            "scores": torch.from_numpy(np.ascontiguousarray(scores)),
            **{f"statistic/{key}": value for key, value in self.statistic.state_dict().items()},
            **{f"detector/{key}": value for key, value in self.detector.state_dict().items()},
        }

    def load_state_dict(self, state: State) -> None:
        slices = state["slices"]
        assert isinstance(slices, int)
        self._slices = slices
        dense, ids, scores = (_array(state[name]) for name in ("dense", "ids", "scores"))
        self._waiting = [(dense, ids, scores)] if len(scores) else []
        for name, part in (("statistic", self.statistic), ("detector", self.detector)):
            start = f"{name}/"
            part.load_state_dict(
                {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            )


def _array(value: object) -> npt.NDArray[Any]:
    assert isinstance(value, torch.Tensor)
    return value.numpy().copy()
