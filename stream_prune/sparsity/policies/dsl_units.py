"""DSL on units: physically small from random initialisation on, under a constant budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.element_policy import annealed
from stream_prune.sparsity.policies.policy import Decision, Keep, Observation, Rewire


class DSLUnitsState(NamedTuple):
    """Examples seen, and how many of them since the last rewiring."""

    rows: int
    since: int


@dataclass(frozen=True)
class DSLUnits:
    """Drop the least important units, grow others, ever fewer of them; the widths stay.

    The model is never full: before the first step it is cut to the budget at random, the same
    share of every group. So it is small and fast from the first example on.

    Attributes:
        anneal_rows: T, examples over which the fraction falls. In the paper the whole run; a
            stream has no end, so name one. From then on the fraction stays at its end.
        every_rows: examples between two rewirings, which come at the end of a window.
        fraction: f0, share of each group's kept units that the first rewirings replace.
        fraction_end: f_min, the share at the end.

    Pseudo-code::

        per group: keep a random share of the units that meets the budget
        train; every every_rows examples, at the end of a window in which units were scored:
            f = f_min + (f0 - f_min) / 2 * (1 + cos(pi * rows / T)),  f_min from T on
            per group: drop the ceil(f * kept) units with the lowest scores
                       grow as many of those that were removed before, at random, with their last
                       (or initial) incoming weights, outgoing weights 0, fresh optimizer state

    Source: Dynamic Sparse Learning: a novel paradigm for efficient recommendation (arXiv
    2402.02855), there on single weights: see :class:`.dsl.DSL`.

    Differs from the paper in: units instead of weights, so that products get smaller; what is
    dropped is chosen by the controller's criterion instead of by magnitude, and what is grown at
    random (a unit that does not exist has no gradient to grow by); it counts examples, not steps.
    No figure of the paper is claimed.

    >>> dsl = DSLUnits(anneal_rows=1000, every_rows=500, fraction_end=0.1)
    >>> state = dsl.initial(budget=0.25)
    >>> for _ in range(5):
    ...     state, decision = dsl.step(state, Observation(100, 0.25, 0.25, True, False))
    >>> round(decision.fraction, 3), decision.grow
    (0.3, 'random')
    """

    rows_from_start: ClassVar[bool] = True
    starts_sparse: ClassVar[bool] = True

    anneal_rows: int
    every_rows: int = 20_000
    fraction: float = 0.5
    fraction_end: float = 0.005

    def __post_init__(self) -> None:
        for name in ("anneal_rows", "every_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"dsl_units.{name} = {getattr(self, name)}: must be at least 1")
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"dsl_units.fraction = {self.fraction}: must be in (0, 1]")
        if not 0 <= self.fraction_end <= self.fraction:
            raise ConfigError(
                f"dsl_units.fraction_end = {self.fraction_end}: must be in [0, fraction = "
                f"{self.fraction}]"
            )

    def initial(self, budget: float) -> DSLUnitsState:
        if budget == 1:
            raise ConfigError(
                "budget.macs = 1.0: must be below 1 for dsl_units, or there is nothing to exchange"
            )
        return DSLUnitsState(0, 0)

    def wants_scores(self, state: DSLUnitsState, window_rows: int) -> bool:
        return state.since + window_rows >= self.every_rows and self._fraction(state.rows) > 0

    def step(
        self, state: DSLUnitsState, observation: Observation
    ) -> tuple[DSLUnitsState, Decision]:
        state = DSLUnitsState(state.rows + observation.rows, state.since + observation.rows)
        fraction = self._fraction(state.rows)
        if state.since < self.every_rows or not observation.scored or not fraction:
            return state, Keep()
        return state._replace(since=0), Rewire(fraction, "random", "clock")

    def rate(self, state: DSLUnitsState) -> float:
        del state  # it is narrow from the start: the optimizer's own rate is the right one
        return 1.0

    def _fraction(self, rows: int) -> float:
        return annealed(self.fraction, self.fraction_end, rows, self.anneal_rows)
