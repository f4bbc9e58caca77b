"""Two runs over the same windows of a stream: by how much one is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How far one model's NE lies above another's on the same rows; below 0 it is the better one.

    All values are relative (0.001 is 0.1 %). On the same rows the base rate is the same, so the
    relative difference of NE is that of the summed logloss.

    Attributes:
        value: of the seeds' mean losses.
        low, high: its interval over stretches of the stream, for these seeds.
        seeds: of each seed alone.
        seed_intervals: likewise low and high of each seed alone.
    """

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    seed_intervals: tuple[tuple[float, float], ...]

    @property
    def spread(self) -> float:
        """Half the range of the seeds' own differences."""
        return (max(self.seeds) - min(self.seeds)) / 2

    def verdict(self, against: float = 0.0) -> Literal["below", "above", "tie"]:
        """On which side of ``against`` the difference is; a tie unless all three speak for a side.

        The interval does not hold ``against``, the difference is further from it than the seeds'
        spread, and every seed alone lies on the same side.

        >>> Difference(-0.002, -0.003, -0.001, (-0.003, -0.001), ()).verdict()
        'below'
        >>> Difference(-0.002, -0.003, 0.001, (-0.003, -0.001), ()).verdict()
        'tie'
        """
        margin = self.value - against
        if abs(margin) <= self.spread:
            return "tie"
        if self.low > against and min(self.seeds) > against:
            return "above"
        if self.high < against and max(self.seeds) < against:
            return "below"
        return "tie"


def paired_difference(
    ours: Losses,
    theirs: Losses,
    *,
    block: int,
    resamples: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """The relative difference of NE of two models, paired over windows and seeds.

    Args:
        ours, theirs: [seeds, windows] summed logloss of each window's labelled rows, the same rows
            for both; seeds in the same order.
        block: windows that are drawn together. Neighbouring windows resemble each other (the time
            of day, the aftermath of a drift), so windows drawn one by one would promise too much.
        resamples: streams that are drawn.
        level: of the interval, between its percentiles.
        seed: of the draws; both models always get the same ones.

    Raises:
        ValueError: shapes differ or are not [seeds, windows], or the block is longer than the
            stream.

    Source: the moving-block bootstrap (Künsch 1989), with blocks that wrap around the end so that
    every window is drawn equally often (Politis and Romano 1992, the circular block bootstrap).
    """
    if ours.shape != theirs.shape or ours.ndim != 2 or not ours.size:
        raise ValueError(f"losses of shapes {ours.shape} and {theirs.shape}: must be equal and 2-D")
    windows = ours.shape[1]
    if not 1 <= block <= windows:
        raise ValueError(f"block = {block}: must be in [1, {windows}], the number of windows")
    starts = np.random.default_rng(seed).integers(
        windows, size=(resamples, max(1, round(windows / block)))
    )
    tails = (50 * (1 - level), 50 * (1 + level))

    def interval(ours: Losses, theirs: Losses) -> tuple[float, float]:
        drawn = _blocks(ours, block)[starts].sum(1) / _blocks(theirs, block)[starts].sum(1) - 1
        low, high = np.percentile(drawn, tails)
        return float(low), float(high)

    pairs = list(zip(ours, theirs, strict=True))
    low, high = interval(ours.mean(0), theirs.mean(0))
    return Difference(
        relative(ours, theirs),
        low,
        high,
        tuple(relative(mine, other) for mine, other in pairs),
        tuple(interval(mine, other) for mine, other in pairs),
    )


def relative(ours: Losses, theirs: Losses) -> float:
    """How far the sum of ``ours`` lies above that of ``theirs``, as a share of it."""
    return float(ours.sum() / theirs.sum() - 1)


def recovery(
    ours: Losses, theirs: Losses, ends: npt.NDArray[np.int64], stretches: Sequence[tuple[int, int]]
) -> tuple[float, ...]:
    """The relative difference of NE of two models after each of several drifts.

    Args:
        ours, theirs: [..., windows] summed logloss.
        ends: [windows] event time (ms) at which each window ends, ascending.
        stretches: of each drift the event times (ms) from which to which to look; a window counts
            where its end lies in ``(from, to]``.

    Raises:
        ValueError: no window ends in a stretch.

    >>> ours, theirs = np.array([1.0, 3.0, 1.0]), np.array([1.0, 2.0, 1.0])
    >>> recovery(ours, theirs, np.array([10, 20, 30]), [(10, 20), (10, 30)])
    (0.5, 0.33333333333333326)
    """
    found = []
    for start, stop in stretches:
        inside = (ends > start) & (ends <= stop)
        if not inside.any():
            raise ValueError(f"no window ends in ({start}, {stop}]")
        found.append(relative(ours[..., inside], theirs[..., inside]))
    return tuple(found)


def _blocks(losses: Losses, block: int) -> Losses:
    """The sums [windows] of ``block`` windows in a row from each on, around the end."""
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([losses, losses[: block - 1]]))])
    return np.asarray(sums[block:] - sums[:-block])
