"""From replays of smaller models to budgets: how small each part may be at a given loss of NE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_prune.errors import RunError
from stream_prune.evaluation.compare import Difference
from stream_prune.scaling.study import Interval, study


@dataclass(frozen=True)
class Measured:
    """A replay at a share of the full size: how far its NE lies above the full model's.

    ``losses`` are NEs of its seeds.
    """

    share: float
    difference: Difference
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Advice:
    """What one part may be cut to.

    Attributes:
        share: of its full size; 1: nothing may go.
        loss: expected relative loss of NE.
        interval: of it.
        reason: where the number is from.
    """

    share: float
    loss: float
    interval: Interval
    reason: str


def advise(full: Sequence[float], measured: Sequence[Measured], tolerance: float) -> Advice:
    """The smallest share at which the loss is within ``tolerance`` even at its interval's end.

    Between measured shares a law is asked, if the points carry one; beyond the smallest measured
    share nothing is.

    Args:
        full: NEs of the full model's seeds.
        measured: replays at smaller shares.
        tolerance: relative loss of NE, .001 for .1 %.
    """
    within = [each for each in measured if each.difference.high <= tolerance]
    whole = Advice(1.0, 0.0, (0.0, 0.0), "no measured share below 1 was within the tolerance")
    best = min(within, key=lambda each: each.share, default=None)
    chosen = whole
    if best is not None:
        found = best.difference
        chosen = Advice(best.share, found.value, (found.low, found.high), "measured")
    return _by_law(full, measured, tolerance, chosen) or chosen


def together(parts: Sequence[Advice]) -> tuple[float, Interval]:
    """Expected loss and its interval of all parts cut at once, as if they did not interact.

    Losses add up; the distances to the ends of independent intervals add up in squares.
    """
    loss = sum(part.loss for part in parts)
    low = math.sqrt(sum((part.loss - part.interval[0]) ** 2 for part in parts))
    high = math.sqrt(sum((part.interval[1] - part.loss) ** 2 for part in parts))
    return loss, (loss - low, loss + high)


def _by_law(
    full: Sequence[float], measured: Sequence[Measured], tolerance: float, chosen: Advice
) -> Advice | None:
    """A smaller share between the measured ones; None where the points carry no law."""
    pairs = [(1.0, loss) for loss in full]
    pairs += [(each.share, loss) for each in measured for loss in each.losses]
    x, losses = (np.array(each) for each in zip(*pairs, strict=True))
    try:
        found = study(x, losses)
    except RunError:
        return None
    if found.refusal:
        return None
    shares = np.geomspace(x.min(), chosen.share, 200)
    a, b, c = (found.resampled[:, [i]] for i in range(3))
    relative = (a * shares**-b + c) / (a + c) - 1
    low, high = np.percentile(relative, (2.5, 97.5), axis=0)
    fits = np.flatnonzero(high <= tolerance)
    if not len(fits) or shares[fits[0]] >= chosen.share:
        return None
    at = int(fits[0])
    expected = found.law.at(float(shares[at])) / found.law.at(1.0) - 1
    interval = float(low[at]), float(high[at])
    return Advice(float(shares[at]), float(expected), interval, "between measured shares, by law")
