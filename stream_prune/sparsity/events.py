"""The structured record of what the controller did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One decision, or one alarm.

    Attributes:
        kind: "drift" (an alarm), "shrink", "grow" (the model was resized), "rows" (tables were),
            "mask" (weights were masked at the start), "rewire" (masks were moved, or
            units exchanged at constant width),
            "derive" (the model was taken anew from its twin), "keep" (what the policy wanted is
            what is alive), "guardrail" (a comparison ended and the re-adjustment stands), "revert"
            (it was taken back), "dropped" (an optimizer step, because gradients were not finite).
        rows: examples seen so far.
        event_time: of the batch it happened after, ms since the epoch; None if not given.
        trigger: why: "start", "warm-up", "step", "drift", "guardrail" (a standing reference is
            better), "clock", "regrown" or "detector"; of tables also "coverage" (a better split of
            their rows); of a comparison how it ended: "passed", "worse", "drift" (an alarm) or
            "unlabelled".
        severity: of the alarm, in standard deviations of the slice loss (rising is positive).
        value: the slice loss that raised the alarm.
        density_before, density_after: kept units over all units; of masks kept weights over all.
        macs_before, macs_after: MACs per example (inference).
        plan_before: kept units per group, and rows per table, until then; of masks kept weights
            per parameter.
        plan: the same afterwards; of a rewiring also how many weights or units are others than
            before.
        rate: the learning-rate multiplier from now on.
        seconds: how long it took.
        measured: of a comparison: examples, logloss of the live model and of the one before it,
            their paired difference and its standard error, and the share of the logloss that the
            descent has cost; of a resize that is not compared because its like has been taken back
            too often: how often. None (and not in the record) otherwise.
    """

    kind: str
    rows: int
    event_time: int | None
    trigger: str
    severity: float | None
    value: float | None
    density_before: float
    density_after: float
    macs_before: int
    macs_after: int
    plan_before: Mapping[str, Mapping[str, int]]
    plan: Mapping[str, Mapping[str, int]]
    rate: float
    seconds: float
    measured: Mapping[str, float] | None = None

    def record(self) -> dict[str, Any]:
        """The event as JSON values (a number that is not finite becomes null)."""
        record = {key: _plain(value) for key, value in asdict(self).items()}
        if self.measured is None:
            del record["measured"]
        return record


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
