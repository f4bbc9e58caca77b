"""ADS: adaptive dense-to-sparse, with drift deciding when the pattern may move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.policy import Decision, Grow, Keep, Observation, Shrink

WARMUP, SPARSIFY, SPARSE, GROWN = range(4)


class ADSState(NamedTuple):
    """Where the machine stands.

    Attributes:
        phase: WARMUP, SPARSIFY, SPARSE or GROWN.
        rows: examples seen in this phase.
        windows: windows ended in this phase.
        step: prune steps done in the current descent.
        descents: descents to the budget that have been completed.
        start: share of MACs that the current descent started from.
    """

    phase: int
    rows: int
    windows: int
    step: int
    descents: int
    start: float


@dataclass(frozen=True)
class ADS:
    """Regrow on drift, partly and for a while; restore what was pruned; prune again.

    Attributes:
        warmup_rows: examples learned at full width before the first prune.
        shrink_steps: prunes of the first descent, one window each, in equal ratios of MACs.
        settle_windows: windows after reaching the budget in which no alarm is answered: the loss
            has just moved because of the prune.
        regrow_density: share of the full model's MACs to regrow to.
        regrow_windows: windows that a regrown model stays wide.
        regrow_steps: prunes of the descent after a regrow.
        rate_sparse: learning-rate multiplier at the budget; reached in step with the descent.
        rate_grown: learning-rate multiplier while regrown.
        clock_rows: examples at the budget after which it regrows without an alarm; None: never.

    Pseudo-code, called at the end of every window::

        warm-up:  until warmup_rows                      -> sparsify
        sparsify: shrink by (budget / start) ** (1 / steps) per window, units scored over the
                  window before; after the last step     -> sparse
        sparse:   on a drift alarm after settle_windows,
                  or after clock_rows                    -> grow(regrow_density), grown
        grown:    for regrow_windows windows             -> sparsify

    Source: Adaptive Dense-to-Sparse paradigm for pruning online recommendation systems with
    non-stationary data (arXiv 2010.08655). Its text was available as the abstract and secondary
    notes only. From the paper: the sparsity pattern must move with the data, and layers take
    unequal shares (here: one global threshold).

    Differs from the paper in: there a full model is trained beside the sparse one, which is derived
    anew from it every r windows; here there is one model, which regrows partly and restores the
    weights and optimizer state its units had when they were pruned. The drift trigger, pruning in
    steps and the raised learning rates are this project's own. No figure of the paper is claimed.

    >>> ads, seen = ADS(warmup_rows=100, shrink_steps=2), []
    >>> state = ads.initial(budget=0.25)
    >>> for _ in range(4):
    ...     state, decision = ads.step(state, Observation(100, 1.0, 0.25, True, False))
    ...     seen.append(decision)
    >>> [type(decision).__name__ for decision in seen]
    ['Shrink', 'Shrink', 'Keep', 'Keep']
    """

    warmup_rows: int = 50_000
    shrink_steps: int = 4
    settle_windows: int = 4
    regrow_density: float = 0.4
    regrow_windows: int = 8
    regrow_steps: int = 1
    rate_sparse: float = 3.0
    rate_grown: float = 3.0
    clock_rows: int | None = None

    def __post_init__(self) -> None:
        for name in ("shrink_steps", "regrow_steps", "regrow_windows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"ads.{name} = {getattr(self, name)}: must be at least 1")
        for name in ("warmup_rows", "settle_windows"):
            if getattr(self, name) < 0:
                raise ConfigError(f"ads.{name} = {getattr(self, name)}: must not be negative")
        for name in ("rate_sparse", "rate_grown"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"ads.{name} = {getattr(self, name)}: must be positive")
        if not 0 < self.regrow_density <= 1:
            raise ConfigError(f"ads.regrow_density = {self.regrow_density}: must be in (0, 1]")
        if self.clock_rows is not None and self.clock_rows < 1:
            raise ConfigError(f"ads.clock_rows = {self.clock_rows}: must be positive or left out")

    @property
    def rows_from_start(self) -> bool:
        return True

    def initial(self, budget: float) -> ADSState:
        if self.regrow_density <= budget:
            raise ConfigError(
                f"ads.regrow_density = {self.regrow_density}: must be above budget.macs = "
                f"{budget}, or a regrow would bring nothing back"
            )
        return ADSState(WARMUP, 0, 0, 0, 0, 1.0)

    def wants_scores(self, state: ADSState, window_rows: int) -> bool:
        if state.phase == WARMUP:
            return state.rows + window_rows >= self.warmup_rows
        if state.phase == GROWN:
            return state.windows + 1 >= self.regrow_windows
        return state.phase == SPARSIFY

    def step(self, state: ADSState, observation: Observation) -> tuple[ADSState, Decision]:
        state = state._replace(rows=state.rows + observation.rows, windows=state.windows + 1)
        if state.phase == WARMUP and state.rows >= self.warmup_rows:
            state = state._replace(phase=SPARSIFY, start=observation.share)
            return self._descend(state, observation, "warm-up")
        if state.phase == SPARSIFY:
            return self._descend(state, observation, "step")
        if state.phase == GROWN and state.windows >= self.regrow_windows:
            state = state._replace(phase=SPARSIFY, start=observation.share)
            return self._descend(state, observation, "regrown")
        if state.phase == SPARSE:
            drift = observation.alarm and state.windows > self.settle_windows
            clock = self.clock_rows is not None and state.rows >= self.clock_rows
            if drift or clock:
                trigger = "drift" if drift else "clock"
                grown = ADSState(GROWN, 0, 0, 0, state.descents, 1.0)
                return grown, Grow(self.regrow_density, trigger)
        return state, Keep()

    def rate(self, state: ADSState) -> float:
        if state.phase == WARMUP:
            return 1.0
        if state.phase == GROWN:
            return self.rate_grown
        if state.phase == SPARSIFY and state.descents == 0:
            return float(self.rate_sparse ** (state.step / self.shrink_steps))
        return self.rate_sparse

    def _descend(
        self, state: ADSState, observation: Observation, trigger: str
    ) -> tuple[ADSState, Decision]:
        """One prune on the way down; waits for scores."""
        if not observation.scored:
            return state, Keep()
        step = state.step + 1
        steps = self.shrink_steps if state.descents == 0 else self.regrow_steps
        if step >= steps:
            decision = Shrink(observation.budget, trigger, settles=True)
            return ADSState(SPARSE, 0, 0, 0, state.descents + 1, state.start), decision
        density = state.start * (observation.budget / state.start) ** (step / steps)
        return state._replace(step=step), Shrink(density, trigger, settles=False)
