"""Which event is sent when, to which partition, and what goes wrong with it: seeded, columnar.

The log is planned a stretch at a time. Faults move events to a later place or add a copy; what a
job must make of each message is then computed from the final order alone, by the rule of the
windows (a row is late when its own partition's watermark has passed its window's end). So the
record that a test reconciles with does not trust the faults that were intended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beam_jobs.produce.options import SHARES, Faults

I64 = npt.NDArray[np.int64]

GOOD, DUPLICATE, LATE, INVALID, CORRUPT = range(5)
KINDS = ("good", "duplicates", "late", "invalid", "undecodable")
"""Names of the kinds: the counters of the job's reconciliation."""

COPY_WITHIN = 2_000
"""A copy comes at most so many events after the event."""


@dataclass(frozen=True)
class Plan:
    """Messages [M] in the order of sending.

    Attributes:
        row: of the stretch, int64; a copy names the same row as its original.
        partition: int64.
        kind: what a job must make of it, one of GOOD, ... .
        displaced: sent out of its turn.
    """

    row: I64
    partition: I64
    kind: I64
    displaced: npt.NDArray[np.bool_]


class Planner:
    """Plans stretch after stretch; per partition it knows the greatest event time so far.

    Args:
        faults: which, and how many.
        window_ms, out_of_orderness_ms: of the job that will read.
        partitions: how many.
        seed: of the choice of events.
    """

    def __init__(
        self,
        faults: Faults,
        window_ms: int,
        out_of_orderness_ms: int,
        partitions: int,
        seed: int,
    ) -> None:
        self._faults, self._window, self._slack = faults, window_ms, out_of_orderness_ms
        self._greatest = np.full(partitions, -1, np.int64)
        self._rng = np.random.default_rng(seed)

    def plan(self, times: I64, partition: I64) -> Plan:
        """The messages of a stretch of events [B] with event times (ms) and partitions."""
        rows = len(times)
        chosen = self._choose(rows)
        reached = np.maximum.accumulate(times)
        place = np.arange(rows, dtype=np.float64)
        within = times + (self._rng.random(rows) * (self._slack + 1)).astype(np.int64)
        later = np.searchsorted(reached, within, side="right") - 0.5
        moved = chosen["disorder"] & (later > place)
        place = np.where(moved, later, place)
        untouched = ~np.logical_or.reduce(list(chosen.values()))
        held = self._after_their_window(times, partition, untouched)
        moved_late = chosen["late"] & (held < rows)
        place = np.where(moved_late, held + 0.5, place)
        copies = np.flatnonzero(chosen["duplicates"])
        order = np.concatenate([np.arange(rows), copies])
        copied = np.minimum(np.maximum(later, place + 0.25), place + COPY_WITHIN + 0.25)[copies]
        order = order[np.argsort(np.concatenate([place, copied]), kind="stable")]
        bad = np.zeros(rows, np.int64)
        bad[chosen["corrupt"]], bad[chosen["invalid"]] = CORRUPT, INVALID
        kind = self._expect(times[order], partition[order], order, bad[order])
        return Plan(order, partition[order], kind, (moved | moved_late)[order])

    def _choose(self, rows: int) -> dict[str, npt.NDArray[np.bool_]]:
        """For each fault the events that have it [B]; no event has two."""
        draw, chosen, low = self._rng.random(rows), {}, 0.0
        for name in SHARES:
            high = low + getattr(self._faults, name)
            chosen[name] = (draw >= low) & (draw < high)
            low = high
        return chosen

    def _after_their_window(
        self, times: I64, partition: I64, untouched: npt.NDArray[np.bool_]
    ) -> I64:
        """For each event the first of its partition that closes its window [B]; B if none does.

        One that has a fault itself may come too late for that.
        """
        found = np.full(len(times), len(times))
        ends = (times // self._window + 1) * self._window
        for p in np.unique(partition):
            here = np.flatnonzero(partition == p)
            closing = here[untouched[here]]
            reached = np.maximum.accumulate(times[closing])
            first = np.searchsorted(reached, ends[here] + self._slack)
            found[here] = np.append(closing, len(times))[first]
        return found

    def _expect(self, times: I64, partition: I64, row: I64, bad: I64) -> I64:
        """What a job must make of messages [M] in the order of sending."""
        kind = bad.copy()
        ends = (times // self._window + 1) * self._window
        for p in np.unique(partition):
            here = np.flatnonzero((partition == p) & (bad == GOOD))
            reached = np.maximum.accumulate(np.append(self._greatest[p], times[here]))
            kind[here[reached[:-1] - self._slack >= ends[here]]] = LATE
            self._greatest[p] = reached[-1]
        kept = np.flatnonzero(kind == GOOD)
        _, first = np.unique(row[kept], return_index=True)
        again = np.ones(len(kept), bool)
        again[first] = False
        kind[kept[again]] = DUPLICATE
        return kind
