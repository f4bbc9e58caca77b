"""DSL on units in a training loop: small from the first step, and exchanging units."""

from __future__ import annotations

import copy

import pytest
import torch
from test_controller import Stream, Table, make, run
from test_resume import outcome
from torch.optim import Adagrad
from unit_policies import look, play

from stream_prune.sparsity import Budget, DSLUnits, Event
from stream_prune.sparsity.policies.policy import Rewire

EVERY_TWO = DSLUnits(anneal_rows=4000, every_rows=400, fraction_end=0.05)


def rewirings(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind == "rewire"]


def test_the_fraction_falls_along_a_cosine_and_stays_at_its_end() -> None:
    story = play(DSLUnits(anneal_rows=1000, every_rows=200, fraction_end=0.1), [look()] * 20)
    fractions = [decision.fraction for _, decision in story if isinstance(decision, Rewire)]
    assert fractions == pytest.approx([0.4618, 0.3618, 0.2382, 0.1382] + [0.1] * 6, abs=1e-4)


def test_a_window_that_was_not_scored_puts_a_rewiring_off() -> None:
    dsl = DSLUnits(anneal_rows=1000, every_rows=100)
    state, decision = dsl.step(dsl.initial(0.2), look(scored=False))
    assert not isinstance(decision, Rewire)
    _, decision = dsl.step(state, look(10))
    assert isinstance(decision, Rewire)


def test_the_model_is_small_before_its_first_step_and_stays_as_small() -> None:
    controller, model, optimizer = make(EVERY_TWO)
    budget = 0.3 * controller.dense_cost.macs_inference
    assert controller.cost().macs_inference <= budget
    assert sum(p.numel() for p in model.parameters()) == controller.cost().parameters
    first = controller.plan
    widths = first.widths
    assert all(widths[group.name] < group.units for group in controller.groups)
    events = run(controller, model, optimizer, Stream(), 80)
    assert (events[0].kind, events[0].trigger) == ("shrink", "start")
    assert events[0].macs_before == controller.dense_cost.macs_inference
    assert events[0].macs_after <= budget
    moved = rewirings(events)
    assert len(moved) == len(events) - 1 == 10
    for event in moved:
        assert event.plan["units"] == widths
        assert event.macs_after == event.macs_before == events[0].macs_after
        assert all(count > 0 for count in event.plan["moved"].values())
    assert sum(moved[0].plan["moved"].values()) > 3 * sum(moved[-1].plan["moved"].values())
    assert controller.plan != first
    assert controller.rate == 1.0


def test_a_rewired_model_learns_on() -> None:
    controller, model, optimizer = make(EVERY_TWO)
    stream = Stream()
    run(controller, model, optimizer, stream, 160)
    dense, emb, labels = stream.batch()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(model(dense, emb), labels)
    assert loss.item() < 0.45


def test_tables_are_at_the_budget_from_the_start() -> None:
    tables = {"user": Table("user", 1000)}
    budget = Budget(macs=0.3, rows=0.5, min_units=4, round_to=4)
    controller, model, optimizer = make(EVERY_TWO, tables=tables, budget=budget)
    assert tables["user"].capacity == 500
    (start,) = run(controller, model, optimizer, Stream(), 1)
    assert start.plan["rows"] == {"user": 500}


def test_units_are_drawn_by_the_seed() -> None:
    plans = [make(EVERY_TWO, seed=seed)[0].plan for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]


def test_a_run_resumed_before_and_after_rewirings_ends_bit_identical() -> None:
    steps, settings = 24, {"optimizer": Adagrad, "seed": 5}
    whole, stream, saved = make(EVERY_TWO, **settings), Stream(), {}
    for step in range(steps):
        run(*whole, stream, 1)
        if step in (0, 7, 8):  # the eighth step ends in a rewiring
            controller, model, optim = whole
            states = controller.state_dict(), model.state_dict(), optim.state_dict()
            saved[step] = copy.deepcopy(states)
    wanted = outcome(*whole)
    for step, states in saved.items():
        resumed = make(EVERY_TWO, **{**settings, "seed": 6})  # the saved seed is what counts
        for part, state in zip(resumed, states, strict=True):
            part.load_state_dict(state)
        again = Stream()
        for _ in range(step + 1):
            again.batch()
        events = run(*resumed, again, steps - step - 1)
        assert rewirings(events)
        found = outcome(*resumed)
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert torch.equal(found[key], value), (step, key)
