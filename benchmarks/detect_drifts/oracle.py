"""How soon a drift can be found at all: sequential tests that know what nobody knows.

A likelihood-ratio CUSUM that raises a false alarm every T steps on average needs evidence of about
log T (Lorden, Procedures for reacting to a change in distribution, Annals of Mathematical
Statistics 1971); told is after how many events that much has come in, on average over labels.
"""

from __future__ import annotations

from math import log
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detect_drifts.detection import BEFORE, HORIZON, Planted, expected_loss
from detect_drifts.traces import Trace

QUIET = 1e6
"""Events between two false alarms."""
SLICE = 128


class Seen(Protocol):
    """What the oracles look at: a trace with its truth."""

    trace: Trace
    drifts: list[Planted]
    bayes: npt.NDArray[np.float32]


def by_loss(watched: Seen) -> list[float]:
    """Delays of an oracle that watches the mean loss of slices and knows its rise in each.

    With rises d and a standard deviation s of the slice loss, the evidence is the sum of
    ``d^2 / 2 s^2``.
    """
    trace, found = watched.trace, []
    expected = expected_loss(trace, watched.bayes)
    for each in (drift for drift in watched.drifts if drift.large):
        before = slice(max(0, each.drift.start - BEFORE), each.drift.start)
        noise = trace.loss[before].var(dtype=np.float64) / SLICE
        after = expected[each.onset : each.onset + HORIZON]
        slices = len(after) // SLICE
        rise = after[: slices * SLICE].reshape(slices, SLICE).mean(1) - expected[before].mean()
        evidence = np.cumsum(np.maximum(rise, 0) ** 2 / np.maximum(2 * noise, 1e-300))
        found.append(SLICE * _first(evidence, log(QUIET / SLICE)))
    return [min(delay, HORIZON) for delay in found]


def by_truth(watched: Seen) -> list[float]:
    """Delays of an oracle that knows the true P(label) of every event after the drift.

    The evidence is what the model's expected loss lies above the least possible, beyond what it did
    before the drift.
    """
    trace, found = watched.trace, []
    q = watched.bayes.astype(np.float64)
    least = -q * np.log(np.maximum(q, 1e-300)) - (1 - q) * np.log(np.maximum(1 - q, 1e-300))
    above = expected_loss(trace, watched.bayes) - least
    for each in (drift for drift in watched.drifts if drift.large):
        before = above[max(0, each.drift.start - BEFORE) : each.drift.start].mean()
        evidence = np.cumsum(above[each.onset : each.onset + HORIZON] - before)
        found.append(_first(evidence, log(QUIET)))
    return [min(delay, HORIZON) for delay in found]


def _first(evidence: npt.NDArray[np.float64], enough: float) -> float:
    reached = np.flatnonzero(evidence >= enough)
    return float(reached[0] + 1) if len(reached) else float(HORIZON)
