"""No settled plan exceeds its budget, and each comes within one rounding step of it."""

from __future__ import annotations

import pytest
import torch
from every_model import EVERY, build, control, learn, proven
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD
from unit_policies import POLICIES

from stream_prune.errors import ConfigError
from stream_prune.sparsity import Budget, SparsityController
from stream_prune.sparsity.allocate import allocate, least_share
from stream_prune.sparsity.plan import Plan

budgets = st.builds(
    Budget,
    macs=st.floats(0.02, 1.0),
    min_units=st.sampled_from([1, 2, 4, 8]),
    round_to=st.sampled_from([1, 2, 4, 8]),
)


def check(name: str, budget: Budget, widths: dict[str, int]) -> None:
    """Within the budget, at allowed widths, and no block more of what is run would be."""
    cost = proven(name).cost
    assert cost.share(widths) <= budget.macs
    for group, width in widths.items():
        if group in cost.whole or not widths.get(cost.within.get(group, ""), 1):
            continue  # left out because its MACs do more elsewhere
        ladder = budget.ladder(cost.units[group])
        assert width in ladder, group
        if width < cost.units[group]:
            wider = {**widths, group: ladder[ladder.index(width) + 1]}
            assert cost.share(wider) > budget.macs, group


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=10)
@given(budget=budgets, seed=st.integers(0, 2**31), steps=st.integers(1, 3))
def test_any_scores_settle_within_one_rounding_step_or_the_budget_is_refused(
    name: str, budget: Budget, seed: int, steps: int
) -> None:
    """In one prune or in several, each among what the one before has left."""
    found = proven(name)
    least = least_share(found.cost, budget)
    if least > budget.macs:
        model, inputs = build(name, 2)
        with pytest.raises(ConfigError, match=rf"least share .* {least:.4f}"):
            control(
                name,
                model,
                SGD(model.parameters(), 0.1),
                inputs,
                policy=POLICIES["static"][0],
                budget=budget,
            )
        return
    generator = torch.Generator().manual_seed(seed)
    kept = Plan.full(found.groups).units
    for step in range(1, steps + 1):
        share = budget.macs ** (step / steps)
        scores = {
            group: torch.rand(n, generator=generator) for group, n in found.cost.units.items()
        }
        kept = allocate(scores, found.cost, budget, share, eligible=kept)
    check(name, budget, {group: len(units) for group, units in kept.items()})


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=2)
@given(name=st.sampled_from(["dlrm", "conv", "multi-task", "DLRMHead"]), data=st.data())
def test_whatever_the_policy_each_plan_that_settles_meets_the_budget(
    policy: str, name: str, data: st.DataObject
) -> None:
    chosen, share = POLICIES[policy]
    rounding = {"min_units": 2, "round_to": data.draw(st.sampled_from([1, 2, 3]))}
    least = least_share(proven(name).cost, Budget(macs=1.0, **rounding))
    macs = share if share == 1 else data.draw(st.floats(max(least, 0.1), 0.39))
    budget = Budget(macs=macs, **rounding)
    model, inputs = build(name, 4)
    optimizer = SGD(model.parameters(), 0.01)
    controller: SparsityController = control(
        name, model, optimizer, inputs, policy=chosen, budget=budget, window_rows=100
    )
    settled = []
    for step in range(24):
        learn(model, optimizer, inputs)
        kinds = {event.kind for event in controller.step(loss=1.0 / (step + 1), rows=100)}
        if kinds & {"shrink", "rewire", "derive"}:
            settled.append(controller.cost().macs_inference)
    if share < 1:
        assert settled, "nothing was ever pruned"
        assert min(settled) <= macs * controller.dense_cost.macs_inference + 1
    least_wide = {group: len(kept) for group, kept in controller.plan.units.items()}
    if settled and controller.cost().macs_inference == min(settled):
        check(name, budget, least_wide)
