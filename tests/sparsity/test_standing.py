"""The summary says per constraint whether the plan holds the budget, and why where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from plugin_models import build
from test_controller import FAST, Stream, Table, make, run
from test_guardrail import learn
from torch.optim import Adam

from stream_prune.errors import ConfigError
from stream_prune.sparsity import Budget, Guardrail, SparsityController, Static


def macs(controller: SparsityController) -> dict[str, Any]:
    return controller.summary()["budget"]["macs"]


def test_it_follows_the_plan_down_up_and_down_again() -> None:
    policy = replace(FAST, clock_rows=400, settle_windows=0)
    controller, model, optimizer = make(policy)
    stream, told = Stream(), []
    for _ in range(50):
        run(controller, model, optimizer, stream, 1)
        if not told or told[-1] != macs(controller)["why"]:
            told.append(macs(controller)["why"])
        share = controller.cost().macs_inference / controller.dense_cost.macs_inference
        assert macs(controller)["met"] is (macs(controller)["share"] <= 0.3)
        assert macs(controller)["share"] == pytest.approx(share, rel=1e-3)
    assert told[:5] == [
        "the policy has not pruned yet",
        "on the way down",
        "within one rounding step of the budget",
        "grown (clock): the policy's own width is the bound until it prunes",
        "within one rounding step of the budget",
    ]


def test_what_the_guardrail_takes_back_is_named_as_the_reason() -> None:
    controller, model, optimizer = make(
        Static(warmup_rows=2000), guardrail=Guardrail(windows=2, wait_windows=50)
    )
    learn(controller, model, optimizer, Stream(), 60, ruin=True)
    assert macs(controller)["share"] == 1
    assert not macs(controller)["met"]
    assert macs(controller)["why"].startswith("taken back by the guardrail: narrower cost ")
    saved = controller.state_dict()
    again, _, _ = make(Static(warmup_rows=2000), guardrail=Guardrail(windows=2, wait_windows=50))
    again.load_state_dict(saved)
    assert again.summary()["budget"] == controller.summary()["budget"]


def test_rows_that_wait_for_the_first_prune_are_said_to() -> None:
    budget = Budget(macs=0.3, rows=0.2, min_units=4, round_to=4)
    controller, model, optimizer = make(
        Static(warmup_rows=400), tables={"user": Table("user", 1000)}, budget=budget
    )
    assert not controller.summary()["budget"]["rows"]["met"]
    assert "first prune" in controller.summary()["budget"]["rows"]["why"]
    run(controller, model, optimizer, Stream(), 10)
    assert controller.summary()["budget"]["rows"]["met"]


def test_a_budget_of_parameters_holds_where_macs_alone_would_not_keep_it() -> None:
    shares = {}
    for parameters in (None, 0.35):
        model, batch = build("conv")  # its linear layers hold the parameters, its others the MACs
        optimizer = Adam(model.parameters())
        controller = SparsityController(
            model,
            optimizer,
            policy=Static(warmup_rows=0),
            budget=Budget(macs=0.6, parameters=parameters, min_units=1, round_to=1),
            example=batch(4),
            window_rows=4,
        )
        model(*batch(4)).square().mean().backward()
        optimizer.step()
        controller.step(rows=4)
        shares[parameters] = controller.cost().parameters / controller.dense_cost.parameters
        told = controller.summary()["budget"]
        assert all(constraint["met"] for constraint in told.values())
        assert all("one rounding step" in constraint["why"] for constraint in told.values())
        assert sum(p.numel() for p in model.parameters()) == controller.cost().parameters
    assert shares[0.35] <= 0.35 < shares[None]


def test_parameters_that_no_plan_can_keep_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"budget.parameters = 0.01: the least share .* 0\.\d+"):
        make(budget=Budget(macs=0.9, parameters=0.01, min_units=4, round_to=4))
    with pytest.raises(ConfigError, match=r"budget.parameters = 1.5: must be in \(0, 1\]"):
        Budget(macs=0.5, parameters=1.5)
