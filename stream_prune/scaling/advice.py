"""From replays of smaller models to budgets: how small each part may be at a given loss of NE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from stream_prune.errors import RunError
from stream_prune.evaluation.compare import Difference
from stream_prune.scaling.study import Interval, study

STEPS = 40
"""Shares that a law is asked about."""


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


WHOLE = Advice(1.0, 0.0, (0.0, 0.0), "nothing smaller was surely within the tolerance")


def candidates(
    full: Sequence[float], measured: Sequence[Measured], *, law: bool = True
) -> list[Advice]:
    """What a part may be cut to: the measured shares, and those between them if a law is found.

    Beyond the smallest measured share nothing is proposed.

    Args:
        full: NEs of the full model's seeds.
        measured: replays at smaller shares.
        law: whether the part can be cut to any share.
    """
    found = [
        Advice(
            each.share,
            each.difference.value,
            (each.difference.low, each.difference.high),
            "measured",
        )
        for each in measured
    ]
    return found + _by_law(full, measured) if law else found


def cheapest(parts: Mapping[str, Sequence[Advice]], tolerance: float) -> dict[str, Advice]:
    """Of each part a candidate, or all of it: the least product of shares within ``tolerance``.

    Halving one part is worth as much as halving another. The loss of all parts together is within
    the tolerance even at its interval's end, and a part whose NE got better pays for no other.

    Args:
        parts: candidates by part.
        tolerance: relative loss of NE, .001 for .1 %.
    """
    within = []
    for tried in product(*([WHOLE, *each] for each in parts.values())):
        _, (_, high) = together(tried)
        gains = sum(min(each.loss, 0.0) for each in tried)
        if high - gains <= tolerance:
            within.append((math.prod(each.share for each in tried), high, tried))
    *_, best = min(within, key=lambda each: each[:2])
    return dict(zip(parts, best, strict=True))


def together(parts: Sequence[Advice]) -> tuple[float, Interval]:
    """Expected loss and its interval of all parts cut at once, as if they did not interact.

    Losses add up; the distances to the ends of independent intervals add up in squares.
    """
    loss = sum(part.loss for part in parts)
    low = math.sqrt(sum((part.loss - part.interval[0]) ** 2 for part in parts))
    high = math.sqrt(sum((part.interval[1] - part.loss) ** 2 for part in parts))
    return loss, (loss - low, loss + high)


def _by_law(full: Sequence[float], measured: Sequence[Measured]) -> list[Advice]:
    """Shares between the measured ones; none where the points carry no law."""
    pairs = [(1.0, loss) for loss in full]
    pairs += [(each.share, loss) for each in measured for loss in each.losses]
    x, losses = (np.array(each) for each in zip(*pairs, strict=True))
    try:
        found = study(x, losses)
    except RunError:
        return []
    if found.refusal:
        return []
    shares = np.geomspace(x.min(), 1.0, STEPS, endpoint=False)
    a, b, c = (found.resampled[:, [i]] for i in range(3))
    relative = (a * shares**-b + c) / (a + c) - 1
    low, high = np.percentile(relative, (2.5, 97.5), axis=0)
    expected = found.law.curve(shares) / found.law.at(1.0) - 1
    told = zip(shares.tolist(), expected.tolist(), low.tolist(), high.tolist(), strict=True)
    return [
        Advice(share, loss, (least, most), "between measured shares, by law")
        for share, loss, least, most in told
    ]
