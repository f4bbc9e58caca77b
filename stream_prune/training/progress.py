"""What a run has done and what it has cost so far: counts, means over examples, extremes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_prune.embedding.row_table import RowTable
from stream_prune.sparsity.cost import Cost
from stream_prune.stateful import State


@dataclass
class Progress:
    """Counters that go into every checkpoint.

    Attributes:
        full_rows: rows of every table at full size; of them those of tables with more than
            ``whole_below`` rows count for the shares.
        whole_below: tables up to this many rows always stay whole and count for no share.
        warmup_rows: learned rows before the figures named ``after_warmup`` begin.
        step: batches learned and windows evaluated so far; keys the journal and the checkpoints.
    """

    full_rows: Mapping[str, int] = field(default_factory=dict)
    whole_below: int = 256
    warmup_rows: int = 0
    step: int = 0
    windows: int = 0
    empty_windows: int = 0
    rows_scored: int = 0
    rows_skipped: int = 0
    rows_learned: int = 0
    batches_learned: int = 0
    rows_unlabelled: int = 0
    drift_alarms: int = 0
    shrinks: int = 0
    grows: int = 0
    rewirings: int = 0
    derivations: int = 0
    reverts: int = 0
    dropped_steps: int = 0
    macs_training: int = 0
    macs_inference: int = 0
    capacity_share_max: float = 0.0
    used_share_max: float = 0.0
    late_rows: int = 0
    late_macs_training: int = 0
    late_macs_inference: int = 0
    lookups: int = 0

    def learned(self, rows: int, unlabelled: int, cost: Cost) -> None:
        """Count a batch: learned rows, unlabelled ones, and the cost at which it was learned."""
        self.rows_unlabelled += unlabelled
        if not rows:
            return
        self.step += 1
        self.batches_learned += 1
        if self.warm:
            self.late_rows += rows
            self.late_macs_training += rows * cost.macs_training
            self.late_macs_inference += rows * cost.macs_inference
        self.rows_learned += rows
        self.macs_training += rows * cost.macs_training
        self.macs_inference += rows * cost.macs_inference

    def happened(self, event: str) -> None:
        """Count an event of the controller by its kind."""
        self.drift_alarms += event == "drift"
        self.shrinks += event == "shrink"
        self.grows += event == "grow"
        self.rewirings += event == "rewire"
        self.derivations += event == "derive"
        self.reverts += event == "revert"
        self.dropped_steps += event == "dropped"

    @property
    def warm(self) -> bool:
        """Whether the warm-up is over."""
        return self.rows_learned >= self.warmup_rows

    def observe_rows(self, tables: Iterable[RowTable]) -> None:
        """Keep the greatest share of the full rows that were ever allowed, and in use."""
        large = [t for t in tables if self.full_rows[t.name] > self.whole_below]
        full = sum(self.full_rows[table.name] for table in large)
        if full:
            capacity = sum(table.capacity for table in large) / full
            self.capacity_share_max = max(self.capacity_share_max, capacity)
            self.used_share_max = max(self.used_share_max, sum(t.rows_used for t in large) / full)

    def figures(self) -> dict[str, Any]:
        """Counts, mean MACs per learned example, greatest shares of rows; no wall-clock time."""
        names = (
            "windows empty_windows rows_scored rows_skipped rows_learned rows_unlabelled "
            "batches_learned drift_alarms shrinks grows rewirings derivations reverts dropped_steps"
        )
        return {name: getattr(self, name) for name in names.split()} | {
            "mean_macs_training": _mean(self.macs_training, self.rows_learned),
            "mean_macs_inference": _mean(self.macs_inference, self.rows_learned),
            "mean_macs_training_after_warmup": _mean(self.late_macs_training, self.late_rows),
            "mean_macs_inference_after_warmup": _mean(self.late_macs_inference, self.late_rows),
            "mean_lookups": _mean(self.lookups, self.rows_learned),
            "max_rows_capacity_share": self.capacity_share_max,
            "max_rows_used_share": self.used_share_max,
        }

    def state_dict(self) -> State:
        return {name: value for name, value in vars(self).items() if name not in _SETTINGS}

    def load_state_dict(self, state: State) -> None:
        for name, value in state.items():
            setattr(self, name, value)


_SETTINGS = ("full_rows", "whole_below", "warmup_rows")


def _mean(total: int, rows: int) -> float | None:
    return total / rows if rows else None
