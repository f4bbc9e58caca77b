"""From per-example losses to means over slices of equal size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.float64]


class Slices:
    """Means over consecutive slices of exactly ``rows`` examples, however batches are cut.

    >>> slices = Slices(4)
    >>> slices.add(np.array([1.0, 1.0, 1.0])), slices.add(np.array([5.0, 2.0]))
    ([], [2.0])
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.count = 0
        self.total = 0.0

    def add(self, losses: Losses) -> list[float]:
        """The means of the slices that these examples complete.

        Args:
            losses: float64 [B].
        """
        means: list[float] = []
        start = 0
        while self.count + len(losses) - start >= self.rows:
            stop = start + self.rows - self.count
            means.append((self.total + float(losses[start:stop].sum())) / self.rows)
            self.clear()
            start = stop
        self.total += float(losses[start:].sum())
        self.count += len(losses) - start
        return means

    def clear(self) -> None:
        """Drop the slice that is not complete."""
        self.count, self.total = 0, 0.0
