"""Every policy of units, with settings small enough for a test, and a way to play windows."""

from __future__ import annotations

from typing import Any

from stream_prune.sparsity.policies.ads import ADS
from stream_prune.sparsity.policies.ads_shadow import ADSShadow
from stream_prune.sparsity.policies.amgp import AMGP
from stream_prune.sparsity.policies.dsl_units import DSLUnits
from stream_prune.sparsity.policies.policy import (
    Decision,
    Derive,
    Grow,
    Observation,
    Policy,
    Shrink,
)
from stream_prune.sparsity.policies.rate_on_drift import RateOnDrift
from stream_prune.sparsity.policies.static import Static

WINDOW = 100
BUDGET = 0.2
ADAPTIVE: dict[str, Any] = {
    "warmup_rows": 250,
    "shrink_steps": 3,
    "settle_windows": 2,
    "regrow_density": 0.4,
    "regrow_windows": 2,
    "regrow_steps": 1,
    "rate_sparse": 3.0,
    "severity_full": None,
}
POLICIES: dict[str, tuple[Policy[Any], float]] = {
    "ads": (ADS(**ADAPTIVE, clock_rows=900), BUDGET),
    "ads_every_option": (
        ADS(**ADAPTIVE | {"regrow_steps": 2, "severity_full": 2.0}, steady=0.1, patience_windows=3),
        BUDGET,
    ),
    "amgp": (AMGP(total_rows=3000, warmup_rows=250, cycles=3, prune_share=0.6), BUDGET),
    "dsl_units": (DSLUnits(anneal_rows=2000, every_rows=250), BUDGET),
    "dsl_units_ending": (DSLUnits(anneal_rows=2000, every_rows=250, fraction_end=0.0), BUDGET),
    "rate_on_drift": (RateOnDrift(raised_rows=250), 1.0),
    "static": (Static(warmup_rows=250, shrink_steps=3), BUDGET),
}
"""Each with the budget that it is for."""

SHADOWED: dict[str, tuple[Policy[Any], float]] = {
    "ads_shadow": (
        ADSShadow(warmup_rows=250, every_rows=600, guardrail=True, settle_windows=2),
        BUDGET,
    ),
}
"""Those that need a twin beside the model."""


def look(rows: int = WINDOW, alarm: bool = False, share: float = 1.0, **more: Any) -> Observation:
    """What a policy sees; scored unless said otherwise."""
    seen: dict[str, Any] = {"budget": BUDGET, "scored": True, **more}
    return Observation(rows=rows, share=share, alarm=alarm, **seen)


def play(
    policy: Policy[Any], windows: list[Observation], budget: float = BUDGET
) -> list[tuple[Any, Decision]]:
    """States and decisions over windows, with a model that follows every decision exactly."""
    state, story = policy.initial(budget), []
    share = budget if policy.starts_sparse else 1.0
    for seen in windows:
        scored = policy.wants_scores(state, WINDOW)
        told = seen._replace(share=share, budget=budget, scored=scored)
        state, decision = policy.step(state, told)
        if isinstance(decision, Derive):
            share = decision.density
        elif isinstance(decision, Shrink):
            share = min(share, decision.density)
        elif isinstance(decision, Grow):
            share = max(share, decision.density)
        story.append((state, decision))
    return story
