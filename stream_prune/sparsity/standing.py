"""Whether the live plan holds the budget, constraint by constraint, and why where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_prune.sparsity.allocate import holds_parameters
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.cost import CostModel
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.policies.policy import Decision, Grow, Keep, Rewire, Shrink
from stream_prune.sparsity.rows import capacities

UNPRUNED = "the policy has not pruned yet"
SETTLED = "settled"


def after(decision: Decision, before: str) -> str:
    """Why the plan stands where a decision has brought it; ``before`` is what held until then."""
    if isinstance(decision, Keep | Rewire):
        return before
    if isinstance(decision, Grow):
        return f"grown ({decision.trigger}): the policy's own width is the bound until it prunes"
    if isinstance(decision, Shrink) and not decision.settles:
        return "on the way down"
    return SETTLED


def after_revert(live: LiveModel, budget: Budget, cost: float) -> str:
    """The same where the guardrail has taken a re-adjustment back that cost so much logloss."""
    if live.share <= budget.macs:
        return SETTLED
    return f"taken back by the guardrail: narrower cost {cost:.1%} of the logloss"


def constraints(live: LiveModel, budget: Budget, why: str) -> dict[str, Any]:
    """Per constraint its limit, what the live plan uses, whether it is met and why (not).

    MACs and parameters share the widths: a plan is within one rounding step of the budget when no
    group could be one step wider without breaking one of the two.
    """
    below = why if _room(live, budget) else "within one rounding step of the budget"
    cost, widths = live.proven.cost, live.plan.widths
    limits = {"macs": (budget.macs, cost.share(widths))}
    if budget.parameters is not None:
        limits["parameters"] = (budget.parameters, cost.parameter_share(widths))
    held = all(share <= limit for limit, share in limits.values())
    found: dict[str, Any] = {
        name: {"limit": limit, "share": share, "met": share <= limit, "why": below if held else why}
        for name, (limit, share) in limits.items()
    }
    if budget.rows is not None:
        most, rows = capacities(live.full.rows, budget), live.plan.rows
        if budget.split == "coverage":
            met, within = sum(rows.values()) <= sum(most.values()), "the tables' total is"
        else:
            met = all(rows[name] <= limit for name, limit in most.items())
            within = "every table is"
        reason = f"{within} within its share" if met else "tables are cut at the first prune"
        found["rows"] = {"limit": budget.rows, "met": met, "why": reason}
    return found


def _holds(cost: CostModel, budget: Budget, widths: Mapping[str, int]) -> bool:
    return cost.share(widths) <= budget.macs and holds_parameters(cost, budget, widths)


def _room(live: LiveModel, budget: Budget) -> bool:
    """Some group could be one rounding step wider within the budget."""
    cost, widths = live.proven.cost, live.plan.widths
    for name, units in cost.units.items():
        if name in cost.whole or not widths.get(cost.within.get(name, ""), 1):
            continue  # left out because its MACs do more elsewhere
        wider = [width for width in budget.ladder(units) if width > widths[name]]
        if wider and _holds(cost, budget, {**widths, name: wider[0]}):
            return True
    return False
