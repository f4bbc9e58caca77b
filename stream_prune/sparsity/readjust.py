"""Re-adjustment: what happens when a window of the policy ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stream_prune.sparsity import standing
from stream_prune.sparsity.allocate import allocate
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.criteria.collect import Collector
from stream_prune.sparsity.exchange import drawn, exchanged
from stream_prune.sparsity.guard import Guard
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.monitoring import Monitoring
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.policies.policy import (
    Decision,
    Derive,
    Grow,
    Keep,
    Observation,
    Policy,
    Rewire,
    Shrink,
)
from stream_prune.sparsity.progress import Progress
from stream_prune.sparsity.rates import RateMultiplier
from stream_prune.sparsity.twin import Twin
from stream_prune.sparsity.watch import Signal

Record = Callable[..., None]
"""Takes down an event: its kind and trigger, and by name what goes with them."""


class Readjustment:
    """Judges the last re-adjustment, asks the policy, and makes the next one.

    Args:
        policy: when and how much.
        budget: what a settled plan may cost.
        live: what is resized.
        progress: what has been seen, and the policy's state.
        collector: scores the units.
        monitoring: drift, the reference and the window's loss.
        guard: compares the model with the one before.
        rate: follows the policy's state.
        twin: what the model is derived from, where the policy derives.
        on_resize: called with the new plan after every resize.
    """

    def __init__(
        self,
        policy: Policy[Any],
        budget: Budget,
        *,
        live: LiveModel,
        progress: Progress,
        collector: Collector,
        monitoring: Monitoring,
        guard: Guard,
        rate: RateMultiplier,
        twin: Twin | None,
        on_resize: Callable[[Plan], None] | None,
    ) -> None:
        self._policy, self._budget, self._live = policy, budget, live
        self._progress, self._collector, self._monitoring = progress, collector, monitoring
        self._guard, self._rate, self._twin, self._on_resize = guard, rate, twin, on_resize

    def start(self) -> None:
        """What the policy wants before the first step."""
        live, budget = self._live, self._budget
        if self._policy.starts_sparse:
            live.resize_units(drawn(live.proven.cost, budget, self._progress.seed))
            self._progress.standing = standing.SETTLED
        if self._policy.rows_from_start:
            live.cut_tables(budget)
        self._prepare_window()

    def end_window(self, alarm: Signal | None, record: Record) -> bool:
        """Called when the policy's window is over, or a drift has been signalled.

        Returns:
            Whether the policy was asked, and so has heard of the alarm.

        Raises:
            RunError: the model had to be resized and could not be; it is as it was, and the next
                call tries again.
        """
        self._split_rows(alarm, record)
        if not self._judge(alarm, record):
            return False
        before, started = self._live.plan, time.perf_counter()
        decision = self._ask(alarm)
        if isinstance(decision, Keep):
            return True
        changed = self._live.plan != before
        derived = isinstance(decision, Derive)  # another model, if of the same plan
        record(
            type(decision).__name__.lower() if derived or changed else "keep",
            decision.trigger,
            before=before,
            signal=alarm if decision.trigger == "drift" else None,
            seconds=time.perf_counter() - started,
            measured=self._guard.overruled if changed else None,
        )
        return True

    def _split_rows(self, alarm: Signal | None, record: Record) -> None:
        """Look again at how the rows of tables that were cut are split."""
        live, budget, progress = self._live, self._budget, self._progress
        if budget.split != "coverage" or live.plan.rows == live.full.rows:
            return
        every, began = budget.split_rows, progress.rows - progress.window_rows
        if alarm is None and progress.rows // every == began // every:
            return
        before, started = live.plan, time.perf_counter()
        if live.cut_tables(budget):
            record("rows", "coverage", before=before, seconds=time.perf_counter() - started)

    def _judge(self, alarm: Signal | None, record: Record) -> bool:
        """End a comparison, maybe by going back; answers whether to ask the policy now."""
        guard, before, started = self._guard, self._live.plan, time.perf_counter()
        verdict = guard.verdict(alarm is not None)
        if verdict is not None and verdict.worse:
            assert guard.plan is not None
            if self._live.resize_units(guard.plan.units):
                self._resized()
            self._progress.policy_state = guard.policy_state
            cost = verdict.measured["descent"]
            self._progress.standing = standing.after_revert(self._live, self._budget, cost)
        asked = guard.close(verdict)
        if not asked:
            self._progress.window_rows = 0
            self._prepare_window()
        if verdict is not None:
            record(
                "revert" if verdict.worse else "guardrail",
                verdict.trigger,
                before=before,
                measured=verdict.measured,
                seconds=time.perf_counter() - started,
            )
        return asked

    def _ask(self, alarm: Signal | None) -> Decision:
        """Ask the policy, and do what it says."""
        progress, scored = self._progress, self._collector.ready
        if scored:
            progress.remember(self._collector.scores(), self.scored_plan)
        observation = Observation(
            rows=progress.window_rows,
            share=self._live.share,
            budget=self._budget.macs,
            scored=scored,
            alarm=alarm is not None,
            severity=0.0 if alarm is None else alarm.severity,
            worse=self._monitoring.reference.worse,
            loss=self._monitoring.window_loss,
            seen=progress.rows,
        )
        state, decision = self._policy.step(progress.policy_state, observation)
        if not isinstance(decision, Keep):
            self._apply(decision)
        # Only now: where the resize was refused, the next step asks again.
        progress.standing = standing.after(decision, progress.standing)
        progress.policy_state, progress.window_rows = state, 0
        self._prepare_window()
        return decision

    def _apply(self, decision: Shrink | Grow | Rewire | Derive) -> None:
        """Bring the model to the units that the decision leads to."""
        live, frozen = self._live, self._guard.copy(decision)
        before, units = live.plan, self._chosen(decision)
        if isinstance(decision, Derive):
            assert self._twin is not None, "check_twin has seen that a policy that derives has one"
            live.derive(units, self._twin)
            changed = True
        elif isinstance(decision, Rewire):
            changed = live.exchange_units(units)
        else:
            changed = live.resize_units(units)
        if changed:
            self._resized()
            self._guard.begin(frozen, before, self._progress.policy_state, decision)
        else:
            self._guard.unchanged(decision)
        if isinstance(decision, Shrink) and not self._policy.rows_from_start:
            live.cut_tables(self._budget)

    def _chosen(self, decision: Shrink | Grow | Rewire | Derive) -> dict[str, tuple[int, ...]]:
        """Shrinking chooses among the live units, growing adds to them, deriving among all."""
        progress, alive = self._progress, self._live.plan.units
        if isinstance(decision, Rewire):
            key = f"{progress.seed}/{progress.rows}"
            return exchanged(progress.scores, alive, decision.fraction, key)
        return allocate(
            progress.scores,
            self._live.proven.cost,
            self._budget,
            decision.density,
            eligible=alive if isinstance(decision, Shrink) else None,
            held=alive if isinstance(decision, Grow) else None,
        )

    def _resized(self) -> None:
        self._monitoring.resized()
        if self._on_resize is not None:
            self._on_resize(self._live.plan)

    @property
    def scored_plan(self) -> Plan:
        """The units that the criterion sees: of a twin all of them."""
        return self._live.plan if self._twin is None else self._live.full

    def _prepare_window(self) -> None:
        self._monitoring.new_window()
        self.follow_state()
        rows = self._guard.policy_rows  # none while it is not asked
        if rows and self._policy.wants_scores(self._progress.policy_state, rows):
            self._collector.arm(self.scored_plan)
        else:
            self._collector.disarm()

    def follow_state(self) -> None:
        """Set the learning-rate multiplier to that of the policy's state."""
        self._rate.value = self._policy.rate(self._progress.policy_state)
