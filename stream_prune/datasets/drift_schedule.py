"""When the synthetic click log drifts, and how: one cycle of every kind, repeated for ever.

- at 20 % of a cycle abrupt: another concept;
- at 35 % covariate: other means of the dense inputs, other ids popular, the same concept;
- from 45 to 55 % gradual: each event is of the old or of the new concept, more and more of the new;
- at 70 % recurring: the concept that was there before the cycle's first drift;
- at 80 % covariate;
- at 90 % abrupt.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, takewhile
from typing import Literal

from stream_prune.datasets.known_truth import Drift

_Kind = Literal["abrupt", "gradual", "recurring", "covariate"]
_CYCLE: tuple[tuple[_Kind, float, float], ...] = (
    ("abrupt", 0.2, 0.2),
    ("covariate", 0.35, 0.35),
    ("gradual", 0.45, 0.55),
    ("recurring", 0.7, 0.7),
    ("covariate", 0.8, 0.8),
    ("abrupt", 0.9, 0.9),
)


def drifts_until(rows: int, cycle: int) -> list[Drift]:
    """The drifts that begin within the first ``rows`` events, in order; a cycle is so many events.

    >>> [(drift.kind, drift.start, drift.concept) for drift in drifts_until(50, cycle=100)]
    [('abrupt', 20, 1), ('covariate', 35, 1), ('gradual', 45, 2)]
    """
    return list(takewhile(lambda drift: drift.start < rows, _drifts(cycle)))


def _drifts(cycle: int) -> Iterator[Drift]:
    newest = current = 0
    for number in count():
        before = current
        for kind, *shares in _CYCLE:
            if kind == "recurring":
                current = before
            elif kind != "covariate":
                current = newest = newest + 1
            start, end = (round((number + share) * cycle) for share in shares)
            yield Drift(kind, start, end, current)
