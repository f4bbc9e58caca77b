"""ADS: adaptive dense-to-sparse, with drift deciding when the pattern may move."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.policy import Decision, Grow, Keep, Observation, Shrink

WARMUP, SPARSIFY, SPARSE, GROWN = range(4)

_FAST, _SLOW = 4, 20  # windows that the two averages of the loss look back


class ADSState(NamedTuple):
    """Where the machine stands.

    Attributes:
        phase: WARMUP, SPARSIFY, SPARSE or GROWN.
        rows: examples seen in this phase.
        windows: windows ended in this phase.
        step: prune steps done in the current descent.
        descents: descents to the budget that have been completed.
        start: share of MACs that the current descent started from.
        relapses: regrows in a row that a better reference has asked for.
        alarmed: an alarm waits for its answer until the loss has settled.
        severity: of that alarm.
        waited: windows that the next prune has waited for the loss to be steady.
        fast: mean loss of the last few windows; 0 before the first.
        slow: the same over five times as many.
    """

    phase: int
    rows: int
    windows: int
    step: int
    descents: int
    start: float
    relapses: int = 0
    alarmed: int = 0
    severity: float = 0.0
    waited: int = 0
    fast: float = 0.0
    slow: float = 0.0


@dataclass(frozen=True)
class ADS:
    """Regrow on drift, partly and for a while; restore what was pruned; prune again.

    A standing reference that is significantly better asks for a regrow as well. Where a regrow has
    not helped, the next one for that reason comes after twice as many windows, so that a reference
    that is better for good does not keep the model wide.

    Attributes:
        warmup_rows: examples learned at full width before the first prune.
        shrink_steps: prunes of the first descent, one window each, in equal ratios of MACs.
        settle_windows: windows after reaching the budget in which it does not regrow: the loss has
            just moved because of the prune. An alarm in them, or on the way down, is answered when
            they are over.
        regrow_density: share of the full model's MACs to regrow to.
        severity_full: severity of a drift from which on it regrows to ``regrow_density``; below,
            to as much less above the budget. None: to ``regrow_density`` on every drift.
        regrow_windows: windows that a regrown model stays wide.
        regrow_steps: prunes of the descent after a regrow.
        rate_sparse: learning-rate multiplier at the budget; reached in step with the descent.
        rate_grown: learning-rate multiplier while regrown.
        clock_rows: examples at the budget after which it regrows without an alarm; None: never.
        steady: readiness. A prune that is due waits until the mean loss of the last few windows is
            within this share of its longer mean: it no longer falls, as while the model still
            learns, and is not raised by a drift or the prune before. None: prunes by the clock.
        patience_windows: a prune waits for no more windows than this.

    Pseudo-code, called at the end of every window::

        warm-up:  until warmup_rows                      -> sparsify
        sparsify: shrink by (budget / start) ** (1 / steps) per window, units scored over the
                  window before, each as soon as the loss is steady;
                  after the last step                    -> sparse
        sparse:   on a drift alarm since it began to descend, once settle_windows are over,
                  or on a better reference after (settle_windows + 1) * 2 ** relapses windows,
                  or after clock_rows                    -> grow(regrow_density), grown
        grown:    for regrow_windows windows             -> sparsify

    Source: Adaptive Dense-to-Sparse paradigm for pruning online recommendation systems with
    non-stationary data (arXiv 2010.08655). Its text was available as the abstract and secondary
    notes only. From the paper: the sparsity pattern must move with the data, and layers take
    unequal shares (here: one global threshold).

    Differs from the paper in: there a full model is trained beside the sparse one, which is derived
    anew from it every r windows; here there is one model, which regrows partly and restores the
    weights and optimizer state its units had when they were pruned. The triggers drift and
    reference, pruning in steps and by readiness, and the raised learning rates are this project's
    own. No figure of the paper is claimed.

    >>> ads, seen = ADS(warmup_rows=100, shrink_steps=2), []
    >>> state = ads.initial(budget=0.25)
    >>> for _ in range(4):
    ...     state, decision = ads.step(state, Observation(100, 1.0, 0.25, True, False))
    ...     seen.append(decision)
    >>> [type(decision).__name__ for decision in seen]
    ['Shrink', 'Shrink', 'Keep', 'Keep']
    """

    rows_from_start: ClassVar[bool] = True
    starts_sparse: ClassVar[bool] = False

    warmup_rows: int = 50_000
    shrink_steps: int = 4
    settle_windows: int = 4
    regrow_density: float = 0.8
    regrow_windows: int = 8
    regrow_steps: int = 3
    rate_sparse: float = 1.0
    rate_grown: float = 2.0
    clock_rows: int | None = None
    severity_full: float | None = 8.0
    steady: float | None = None
    patience_windows: int = 16

    def __post_init__(self) -> None:
        for name in ("shrink_steps", "regrow_steps", "regrow_windows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"ads.{name} = {getattr(self, name)}: must be at least 1")
        for name in ("warmup_rows", "settle_windows", "patience_windows"):
            if getattr(self, name) < 0:
                raise ConfigError(f"ads.{name} = {getattr(self, name)}: must not be negative")
        for name in ("rate_sparse", "rate_grown"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"ads.{name} = {getattr(self, name)}: must be positive")
        for name in ("severity_full", "steady"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"ads.{name} = {value}: must be positive or left out")
        if not 0 < self.regrow_density <= 1:
            raise ConfigError(f"ads.regrow_density = {self.regrow_density}: must be in (0, 1]")
        if self.clock_rows is not None and self.clock_rows < 1:
            raise ConfigError(f"ads.clock_rows = {self.clock_rows}: must be positive or left out")

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
        state = _with_loss(state, observation.loss)
        state = state._replace(rows=state.rows + observation.rows, windows=state.windows + 1)
        if state.phase == WARMUP and state.rows >= self.warmup_rows:
            return self._descend(state, observation, "warm-up")
        if observation.alarm and state.phase in (SPARSIFY, SPARSE):
            state = state._replace(alarmed=1, severity=observation.severity)
        if state.phase == SPARSIFY:
            return self._descend(state, observation, "step")
        if state.phase == GROWN and state.windows >= self.regrow_windows:
            return self._descend(state, observation, "regrown")
        if state.phase == SPARSE:
            return self._watch(state, observation)
        return state, Keep()

    def rate(self, state: ADSState) -> float:
        if state.phase == WARMUP:
            return 1.0
        if state.phase == GROWN:
            return self.rate_grown
        if state.phase == SPARSIFY and state.descents == 0:
            return float(self.rate_sparse ** (state.step / self.shrink_steps))
        return self.rate_sparse

    def _watch(self, state: ADSState, observation: Observation) -> tuple[ADSState, Decision]:
        """At the budget: is there a reason to regrow?"""
        wait = (self.settle_windows + 1) * 2**state.relapses
        if state.alarmed and state.windows > self.settle_windows:
            return self._grow(state, self._density(state, observation), "drift")
        if observation.worse and state.windows >= wait:
            return self._grow(state, self.regrow_density, "guardrail")
        if self.clock_rows is not None and state.rows >= self.clock_rows:
            return self._grow(state, self.regrow_density, "clock")
        relieved = state.windows >= 2 * wait  # a reference needs some windows to be judged
        return (state._replace(relapses=0) if relieved else state), Keep()

    def _grow(self, state: ADSState, density: float, trigger: str) -> tuple[ADSState, Decision]:
        relapses = state.relapses + 1 if trigger == "guardrail" else 0
        grown = ADSState(GROWN, 0, 0, 0, state.descents, 1.0, relapses)
        return grown._replace(fast=state.fast, slow=state.slow), Grow(density, trigger)

    def _density(self, state: ADSState, observation: Observation) -> float:
        """How far to regrow: the worse the drift, the further."""
        if self.severity_full is None:
            return self.regrow_density
        part = min(1.0, abs(state.severity) / self.severity_full)
        return observation.budget + (self.regrow_density - observation.budget) * part

    def _descend(
        self, state: ADSState, observation: Observation, trigger: str
    ) -> tuple[ADSState, Decision]:
        """One prune on the way down; waits for scores, and for a steady loss."""
        if not observation.scored or not self._ready(state):
            return state._replace(waited=state.waited + 1), Keep()
        if state.phase != SPARSIFY:
            state = state._replace(phase=SPARSIFY, start=observation.share)
        step = state.step + 1
        steps = self.shrink_steps if state.descents == 0 else self.regrow_steps
        state = state._replace(step=step, waited=0)
        density = state.start * (observation.budget / state.start) ** (step / steps)
        if step < steps and density > observation.budget:  # a mild drift may have grown nothing
            return state, Shrink(density, trigger, settles=False)
        state = state._replace(phase=SPARSE, rows=0, windows=0, step=0, descents=state.descents + 1)
        return state, Shrink(observation.budget, trigger, settles=True)

    def _ready(self, state: ADSState) -> bool:
        if self.steady is None or state.waited >= self.patience_windows:
            return True
        return abs(state.fast - state.slow) <= self.steady * state.slow


def _with_loss(state: ADSState, loss: float) -> ADSState:
    """The averages after one more window; one without labels changes nothing."""
    if not isfinite(loss):
        return state
    if not state.slow:
        return state._replace(fast=loss, slow=loss)
    return state._replace(
        fast=state.fast + (loss - state.fast) / _FAST, slow=state.slow + (loss - state.slow) / _SLOW
    )
