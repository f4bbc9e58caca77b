"""Drift detection on what the model gets wrong, and where: residuals times inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.drift.mewma import Mewma
from stream_prune.errors import ConfigError
from stream_prune.stateful import State

Floats = npt.NDArray[np.float64]

_BOUND = 5.0
"""Standard deviations beyond which an input counts as if it lay there."""
_EPSILON = 1e-6


class ResidualMonitor:
    """Watches label minus probability together with the dense inputs, in slices of equal size.

    Of a slice it takes the mean of ``(y - p) [1, log-odds of p, dense inputs]``: the gradient that
    a logistic regression upon the model would see. While the model is right its mean is zero
    whatever the inputs are; once P(label | inputs) has moved it points in one direction slice after
    slice. The loss moves far less than its own noise then: it hears one number of an event where
    this hears all of them (``benchmarks/drift.py`` has both). Inputs that move much can be an
    alarm as well, as the vector's spread moves with them.

    Inputs are centred and scaled by running moments of the slices before. Without dense inputs it
    watches calibration alone: the first two numbers.

    Args:
        detector: by default a :class:`Mewma`.
        slice_rows: labelled examples per slice.
        memory: slices that the moments of the inputs remember.

    Raises:
        ConfigError: an argument is out of range.

    Source: Zhang, Bui and Apley, Concept Drift Monitoring and Diagnostics of Supervised Learning
    Models via Score Vectors (Technometrics 2023; arXiv 2012.06916). Differs from the paper in the
    score vector, which is of a regression upon the model instead of the model's own, as that
    changes its size, in a model that goes on learning.
    """

    def __init__(
        self, detector: Mewma | None = None, slice_rows: int = 128, memory: int = 1024
    ) -> None:
        if slice_rows < 1 or memory < 2:
            raise ConfigError(
                f"drift.residuals: slice_rows = {slice_rows} must be positive and memory = "
                f"{memory} at least 2"
            )
        self.detector = Mewma() if detector is None else detector
        self._slice_rows, self._memory = slice_rows, memory
        self._count = 0
        self._moments = np.zeros((2, 0))  # mean and mean square of every input
        self._waiting = np.zeros((0, 0))  # label, probability, inputs

    @property
    def severity(self) -> float:
        """Of the last alarm, in standard deviations of a slice."""
        return self.detector.severity

    def observe(self, labels: Floats, scores: Floats, dense: Floats) -> bool:
        """Take in labelled rows; True when they are not what the model holds them for any more.

        Args:
            labels: [B] 0 or 1.
            scores: [B] probabilities, given before the rows were learned.
            dense: [B, N].
        """
        rows = np.column_stack([labels, scores, dense])
        if self._waiting.size:
            rows = np.concatenate([self._waiting, rows])
        alarm, start = False, 0
        while len(rows) - start >= self._slice_rows:
            alarm |= self.detector.update(self.vector(rows[start : start + self._slice_rows]))
            start += self._slice_rows
        self._waiting = rows[start:].copy()
        return alarm

    def vector(self, rows: Floats) -> Floats:
        """The vector [2 + N] of a slice [n, 2 + N] of labels, probabilities and dense inputs."""
        p = rows[:, 1].clip(_EPSILON, 1 - _EPSILON)
        dense = rows[:, 2:]
        now = np.stack([dense.mean(0), (dense**2).mean(0)])
        if not self._count:
            self._moments = now
        mean, square = self._moments
        scale = np.sqrt(np.maximum(square - mean**2, 1e-12))
        inputs = ((dense - mean) / scale).clip(-_BOUND, _BOUND)
        self._count = min(self._count + 1, self._memory)
        self._moments = self._moments + (now - self._moments) / self._count
        given = np.column_stack([np.ones(len(p)), np.log(p / (1 - p)), inputs])
        return np.asarray((rows[:, 0] - p) @ given / len(p), np.float64)

    def clear(self) -> None:
        """Drop the slice that is not complete."""
        self._waiting = np.zeros((0, 0))

    def reset(self) -> None:
        """Start anew: there was an alarm, or the model itself has been changed."""
        self.clear()
        self.detector.reset()

    def state_dict(self) -> State:
        return {
            "count": self._count,
            "moments": torch.from_numpy(self._moments.copy()),
            "waiting": torch.from_numpy(self._waiting.copy()),
            **{f"detector/{key}": value for key, value in self.detector.state_dict().items()},
        }

    def load_state_dict(self, state: State) -> None:
        values: dict[str, Any] = dict(state)
        self._count = int(values["count"])
        self._moments = values["moments"].numpy().copy()
        self._waiting = values["waiting"].numpy().copy()
        start = "detector/"
        self.detector.load_state_dict(
            {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        )
