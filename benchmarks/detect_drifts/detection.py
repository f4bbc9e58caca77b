"""Alarms against the known drifts: how late, how many false, how many missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log

import numpy as np
import numpy.typing as npt

from detect_drifts.traces import Trace
from stream_prune.datasets.known_truth import Drift
from stream_prune.evaluation.entropy import CLIP

BEFORE, AFTER = 16_384, 4_096
"""Events before and after a drift between which the rise of the loss is measured."""
RISE = 0.05
"""Drifts that raise NE by less are no misses, and found late is no matter."""
HORIZON = 30_000
"""An alarm so many events after a drift's end is no longer its."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Planted:
    """A drift as a trace shows it.

    Attributes:
        onset: event from which its loss is higher by :data:`RISE`, of a gradual drift that gets so
            far; otherwise its start.
        rise: of the NE of :data:`AFTER` events, relative to before; of a gradual drift the greatest
            that it reaches.
    """

    drift: Drift
    onset: int
    rise: float

    @property
    def large(self) -> bool:
        return self.rise >= RISE


@dataclass(frozen=True)
class Found:
    """What a detector made of some traces.

    Attributes:
        delays: of every large drift, events from its onset to the first alarm; infinite: missed.
        false_alarms: alarms that no drift, large or small, explains.
        events: that were watched, without the stretches after drifts.
    """

    delays: tuple[float, ...]
    false_alarms: int
    events: int

    @property
    def misses(self) -> int:
        return sum(delay == inf for delay in self.delays)

    @property
    def false_per_million(self) -> float:
        return 1e6 * self.false_alarms / self.events

    def delay(self, percentile: float) -> float:
        """A missed drift counts as one that is found after the horizon."""
        if not self.delays:
            return float("nan")
        return float(np.percentile(np.minimum(self.delays, HORIZON), percentile))

    def __add__(self, other: Found) -> Found:
        return Found(
            self.delays + other.delays,
            self.false_alarms + other.false_alarms,
            self.events + other.events,
        )


def planted(trace: Trace, bayes: Floats) -> list[Planted]:
    """The drifts of a trace, with what each does to NE, over the base rate of the same events.

    Both are expected values over the labels that the events could have had: those of single labels
    are off by a few percent in a few thousand events, as much as what is looked for.

    Args:
        trace: of a model.
        bayes: [rows] P(label = 1) with which each label was drawn.
    """
    found = []
    loss = expected_loss(trace, bayes)

    def ne(start: int, stop: int) -> float:
        rows = slice(max(0, start), stop)
        rate = float(bayes[rows].mean(dtype=np.float64))
        return float(loss[rows].mean()) / -(rate * log(rate) + (1 - rate) * log(1 - rate))

    for drift in trace.log.drifts:
        before = ne(drift.start - BEFORE, drift.start)
        starts = np.arange(drift.start, drift.end + 1, AFTER // 4)
        rises = [ne(int(at), int(at) + AFTER) / before - 1 for at in starts]
        risen = [int(at) for at, rise in zip(starts, rises, strict=True) if rise >= RISE]
        onset = risen[0] if risen else drift.start
        found.append(Planted(drift, onset, float(max(rises))))
    return found


def expected_loss(trace: Trace, bayes: Floats) -> npt.NDArray[np.float64]:
    """Loss [rows] over the labels that the events could have had."""
    p, q = np.clip(trace.scores.astype(np.float64), CLIP, 1 - CLIP), bayes.astype(np.float64)
    return np.asarray(-q * np.log(p) - (1 - q) * np.log(1 - p))


def judge(alarms: Sequence[int], drifts: Sequence[Planted], rows: int) -> Found:
    """Hold alarms (event numbers, ascending) against the drifts of a trace of ``rows`` events."""
    stretches = [(p.drift.start, p.drift.end + HORIZON, p) for p in drifts]
    false = [at for at in alarms if not any(start <= at < end for start, end, _ in stretches)]
    delays = []
    for number, (start, end, drift) in enumerate(stretches):
        if not drift.large:
            continue
        following = stretches[number + 1][0] if number + 1 < len(stretches) else rows
        inside = [at for at in alarms if start <= at < min(end, following)]
        # An alarm before a gradual drift has got far is none too late.
        delays.append(float(max(0, inside[0] - drift.onset)) if inside else inf)
    watched = rows - sum(min(end, rows) - start for start, end, _ in stretches)
    return Found(tuple(delays), len(false), max(0, watched))
