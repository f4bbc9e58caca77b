"""The budget: what a settled plan may cost."""

from __future__ import annotations

from dataclasses import dataclass

from stream_prune.errors import ConfigError

SPLITS = ("proportional", "coverage")


@dataclass(frozen=True)
class Budget:
    """Separate constraints, each held by every settled plan.

    Attributes:
        macs: share of the wrapped model's dense MACs per example, in (0, 1].
        rows: share of the tables' rows, in (0, 1]; None leaves tables alone.
        split: proportional: every table gets this share of its own rows; coverage: all of them
            together have it, split by what ghost caches say that rows find (tables without them get
            their proportional part).
        split_rows: examples after which a split by coverage is looked at again, besides after
            drift alarms and prunes; rows move if another one finds 1 % more look-ups.
        min_units: no group gets narrower than this.
        round_to: widths are multiples of this (fast matrix products like multiples of 8), except
            for a group's full width.
        whole_tables_below: tables up to this many rows stay whole.
        parameters: share of the wrapped model's dense parameters, in (0, 1]; None: as many as the
            MACs allow. It matters where layers use a parameter unequally often (convolutions).

    >>> Budget(macs=0.2).ladder(20)
    (8, 16, 20)
    """

    macs: float
    rows: float | None = None
    min_units: int = 8
    round_to: int = 8
    whole_tables_below: int = 256
    parameters: float | None = None
    split: str = "proportional"
    split_rows: int = 40_000

    def __post_init__(self) -> None:
        if not 0 < self.macs <= 1:
            raise ConfigError(f"budget.macs = {self.macs}: must be in (0, 1]")
        for name in ("rows", "parameters"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"budget.{name} = {value}: must be in (0, 1] or left out")
        for name in ("min_units", "round_to"):
            if getattr(self, name) < 1:
                raise ConfigError(f"budget.{name} = {getattr(self, name)}: must be at least 1")
        if self.split not in SPLITS:
            raise ConfigError(f"budget.split = {self.split!r}: must be one of {', '.join(SPLITS)}")
        if self.split_rows < 1:
            raise ConfigError(f"budget.split_rows = {self.split_rows}: must be at least 1")
        if self.split == "coverage" and self.rows is None:
            raise ConfigError(
                "budget.split = 'coverage': there is nothing to split: add budget.rows"
            )
        if self.whole_tables_below < 0:
            raise ConfigError(
                f"budget.whole_tables_below = {self.whole_tables_below}: must not be negative"
            )

    def ladder(self, units: int) -> tuple[int, ...]:
        """The widths that a group of so many units may have, ascending."""
        first = -(-self.min_units // self.round_to) * self.round_to
        return (*range(first, units, self.round_to), units)
