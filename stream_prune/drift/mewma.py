"""A multivariate EWMA: alarms when the mean of vectors moves, whatever the direction."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import ConfigError
from stream_prune.stateful import State

ALPHA, WEIGHTS = 1e-5, (1 / 16, 1 / 64)
"""As chosen by ``benchmarks/drift.py`` on its logs for choosing."""

RIDGE = 1e-3
"""Of the mean variance, added to each number's own."""

Floats = npt.NDArray[np.float64]


class Mewma:
    """Holds exponentially weighted means of vectors against their mean and covariance so far.

    For each weight ``w``, with mean m and covariance C of the vectors before::

        z = (1 - w) z + w (x - m);   v = w / (2 - w) (1 - (1 - w)^2t) + 1 / count
        alarm when z' C^-1 z > h v

    Small weights find small shifts, large ones large shifts soon. The threshold h is the quantile
    ``1 - alpha`` of chi-square with as many degrees of freedom as a vector has numbers, so that one
    ``alpha`` serves vectors of any length. An alarm resets.

    Args:
        alpha: chance of an alarm at one vector and one weight where nothing moves.
        weights: of the newest vector, one or several.
        memory: vectors after which mean and covariance forget as much as comes in.
        burn_in: vectors after a reset that only enter these; four times their length at least.

    Raises:
        ConfigError: an argument is out of range.

    Source: Lowry, Woodall, Champ and Rigdon, A Multivariate Exponentially Weighted Moving Average
    Control Chart (Technometrics 1992). Differs from the paper in several weights at once, and in
    moments that are learned while it runs.
    """

    def __init__(
        self,
        alpha: float = ALPHA,
        weights: tuple[float, ...] = WEIGHTS,
        memory: int = 1024,
        burn_in: int = 64,
    ) -> None:
        weights = tuple(weights)
        if not 0 < alpha < 1 or not weights or not all(0 < each <= 1 for each in weights):
            raise ConfigError(
                f"mewma: alpha = {alpha} must be in (0, 1), weights = {weights} one or more in "
                "(0, 1]"
            )
        if not 2 <= burn_in <= memory:
            raise ConfigError(
                f"mewma: burn_in = {burn_in} must be at least 2 and at most memory = {memory}"
            )
        self.alpha, self.memory, self.burn_in = alpha, memory, burn_in
        self._weights = np.array(weights)
        self._severity = 0.0
        self.reset()

    @property
    def severity(self) -> float:
        """Of the last alarm: how far the mean had moved, in standard deviations of a vector."""
        return self._severity

    def reset(self) -> None:
        self._count = self._tested = 0
        self._mean, self._squares = np.zeros(0), np.zeros((0, 0))
        self._moved = np.zeros((len(self._weights), 0))

    def update(self, vector: Floats) -> bool:
        """Take in a vector [d], always of the same length; True when their mean has moved."""
        if not np.isfinite(vector).all():
            raise ValueError(f"mewma: cannot take in {vector}")
        if not self._count:
            self._mean, self._squares = np.zeros(len(vector)), np.zeros((len(vector),) * 2)
            self._moved = np.zeros((len(self._weights), len(vector)))
        if self._count >= max(self.burn_in, 4 * len(vector)) and self._test(vector):
            self.reset()
            return True
        if self._count >= self.memory:
            self._squares *= 1 - 1 / self._count
        else:
            self._count += 1
        step = vector - self._mean
        self._mean += step / self._count
        self._squares += np.outer(step, vector - self._mean)
        return False

    def _test(self, vector: Floats) -> bool:
        covariance = self._squares / (self._count - 1)
        # Numbers that never vary, or only together, must not make the matrix singular.
        covariance += RIDGE * covariance.diagonal().mean() * np.eye(len(vector))
        covariance += 1e-300 * np.eye(len(vector))
        self._tested += 1
        weights = self._weights[:, None]
        self._moved = (1 - weights) * self._moved + weights * (vector - self._mean)
        distance = (self._moved * np.linalg.solve(covariance, self._moved.T).T).sum(1)
        kept = (1 - self._weights) ** (2 * self._tested)
        # The mean has an error of its own.
        variance = self._weights / (2 - self._weights) * (1 - kept) + 1 / self._count
        alarmed = distance > threshold(self.alpha, len(vector)) * variance
        if alarmed.any():
            self._severity = float(np.sqrt(distance[alarmed].max()))
        return bool(alarmed.any())

    def state_dict(self) -> State:
        return {
            "count": self._count,
            "tested": self._tested,
            "severity": self._severity,
            "mean": torch.from_numpy(self._mean.copy()),
            "squares": torch.from_numpy(self._squares.copy()),
            "moved": torch.from_numpy(self._moved.copy()),
        }

    def load_state_dict(self, state: State) -> None:
        values: dict[str, Any] = dict(state)
        self._count, self._tested = int(values["count"]), int(values["tested"])
        self._severity = float(values["severity"])
        self._mean, self._squares, self._moved = (
            values[name].numpy().copy() for name in ("mean", "squares", "moved")
        )


def threshold(alpha: float, freedom: int) -> float:
    """The value that chi-square exceeds with probability ``alpha``.

    Source: Wilson and Hilferty, The distribution of chi-square (PNAS 1931).

    >>> round(threshold(0.05, 15), 1)
    25.0
    """
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + NormalDist().inv_cdf(1 - alpha) * spread**0.5) ** 3)
