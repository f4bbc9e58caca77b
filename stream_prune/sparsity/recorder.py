"""What the controller tells of itself: the record of an event, and the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.events import Event
from stream_prune.sparsity.exchange import newcomers
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.rates import RateMultiplier
from stream_prune.sparsity.watch import Signal


class Recorder:
    """Describes the live model, before and after.

    Args:
        live: the model as it is.
        rate: the learning-rate multiplier in force.
    """

    def __init__(self, live: LiveModel, rate: RateMultiplier) -> None:
        self._live, self._rate = live, rate

    def event(
        self,
        kind: str,
        trigger: str,
        *,
        rows: int,
        event_time: int | None,
        before: Plan | None = None,
        signal: Signal | None = None,
        seconds: float = 0.0,
        measured: Mapping[str, float] | None = None,
    ) -> Event:
        """The record of what has just happened.

        Args:
            kind, trigger, rows, event_time, seconds, measured: as in :class:`Event`.
            before: the plan until now; None: it has not changed.
            signal: what the drift monitor said, where that is the reason.
        """
        live = self._live
        before = live.plan if before is None else before
        plan = {"units": live.plan.widths, "rows": dict(live.plan.rows)}
        if kind == "rewire":
            come = newcomers(before.units, live.plan.units)
            plan["moved"] = {name: len(units) for name, units in come.items()}
        return Event(
            kind=kind,
            rows=rows,
            event_time=None if event_time is None else int(event_time),
            trigger=trigger,
            severity=None if signal is None else float(signal.severity),
            value=None if signal is None else float(signal.value),
            density_before=live.density(before),
            density_after=live.density(live.plan),
            macs_before=live.cost(before).macs_inference,
            macs_after=live.cost().macs_inference,
            plan_before={"units": before.widths, "rows": dict(before.rows)},
            plan=plan,
            rate=self._rate.value,
            seconds=seconds,
            measured=measured,
        )

    def summary(self, budget: Budget, refused: Mapping[str, str]) -> dict[str, Any]:
        """Groups, what was refused and why, widths and cost, as JSON values."""
        live = self._live
        cost, dense = live.cost(), live.cost(live.full)
        return {
            "groups": {group.name: group.units for group in live.proven.groups},
            "refused": dict(refused),
            "kept": live.plan.widths,
            "rows": dict(live.plan.rows),
            "macs": cost.macs_inference,
            "macs_dense": dense.macs_inference,
            "macs_budget": budget.macs,
            "parameters": cost.parameters,
            "parameters_dense": dense.parameters,
            "mirror_bytes": live.mirror_bytes,
            "rescale": live.rescaled,
            "rate": self._rate.value,
        }
