"""Whether the live plan holds the budget, constraint by constraint, and why where it does not."""

from __future__ import annotations

from typing import Any

from stream_prune.sparsity.budget import Budget
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

    A plan meets the MACs within one rounding step when no group could be one step wider.
    """
    share = live.share
    macs: dict[str, Any] = {"limit": budget.macs, "share": share, "met": share <= budget.macs}
    if not macs["met"]:
        macs["why"] = why
    elif _room(live, budget):
        macs["why"] = f"more than one rounding step below the budget; {why}"
    else:
        macs["why"] = "within one rounding step of the budget"
    found = {"macs": macs}
    if budget.rows is not None:
        limits, rows = capacities(live.full.rows, budget), live.plan.rows
        met = all(rows[name] <= limit for name, limit in limits.items())
        reason = "every table is within its share" if met else "tables are cut at the first prune"
        found["rows"] = {"limit": budget.rows, "met": met, "why": reason}
    return found


def _room(live: LiveModel, budget: Budget) -> bool:
    """Some group could be one rounding step wider within the budget."""
    cost, widths = live.proven.cost, live.plan.widths
    for name, units in cost.units.items():
        wider = [width for width in budget.ladder(units) if width > widths[name]]
        if wider and cost.share({**widths, name: wider[0]}) <= budget.macs:
            return True
    return False
