"""The guardrail: a re-adjustment is compared with the model before, and taken back if it harms."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from test_controller import FAST, Stream, make
from test_resume import outcome
from torch import nn
from torch.optim import Adam

from stream_prune.drift import Cusum, DriftMonitor
from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity import ADS, Budget, Event, Guardrail, SparsityController, Static

GUARDRAIL = Guardrail(windows=2, wait_windows=2)
ONCE = Static(warmup_rows=2000, rate_sparse=1.0)


def learn(
    controller: SparsityController,
    model: nn.Module,
    optimizer: Any,
    stream: Stream,
    steps: int,
    ruin: bool = False,
) -> list[Event]:
    """Train; with ``ruin`` a resized model can't learn: its last layer is noise at every step."""
    events: list[Event] = []
    for _ in range(steps):
        dense, emb, labels = stream.batch()
        logits = model(dense, emb)
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        optimizer.step()
        scores = torch.sigmoid(logits).detach()
        events += controller.step(labels=labels, scores=scores)
        if ruin and controller.summary()["guardrail"]["comparing"]:
            with torch.no_grad():
                model.top[4].weight.normal_(generator=stream.generator)
    return events


def kinds(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.trigger) for event in events]


def test_a_harmless_descent_passes_step_by_step_and_the_copy_is_let_go() -> None:
    controller, model, optimizer = make(FAST, guardrail=GUARDRAIL)
    stream = Stream()
    events = learn(controller, model, optimizer, stream, 9)
    assert kinds(events) == [("shrink", "warm-up")]
    comparing = controller.summary()["guardrail"]
    full = sum(p.numel() * 4 for p in copy.deepcopy(model).parameters())
    assert comparing["comparing"]
    assert comparing["frozen_bytes"] > full  # it is the wider one
    events += learn(controller, model, optimizer, stream, 30)
    assert kinds(events) == [
        ("shrink", "warm-up"),
        ("guardrail", "passed"),
        ("shrink", "step"),
        ("guardrail", "passed"),
    ]
    first, passed, second, _ = events
    assert passed.rows - first.rows == 400  # two windows
    assert second.rows == passed.rows
    assert passed.measured["rows"] == 400
    summary = json.loads(json.dumps(controller.summary()["guardrail"]))
    assert summary["frozen_bytes"] == 0
    assert (summary["passed"], summary["taken_back"]) == (2, 0)
    assert not model._forward_pre_hooks


def test_a_destructive_resize_is_taken_back_tried_again_and_then_left_to_the_budget() -> None:
    controller, model, optimizer = make(ONCE, guardrail=GUARDRAIL)
    stream = Stream()
    events = learn(controller, model, optimizer, stream, 110, ruin=True)
    assert kinds(events) == [
        ("shrink", "warm-up"),
        ("revert", "worse"),
        ("shrink", "warm-up"),
        ("revert", "worse"),
        ("shrink", "warm-up"),
    ]
    shrunk, back, again, _, last = events
    assert back.rows - shrunk.rows == 400
    assert again.rows - back.rows == 600  # two windows unasked, and the one after
    assert back.measured["difference"] > 3 * back.measured["error"] > 0
    assert back.measured["logloss"] > 1.03 * back.measured["logloss_before"]
    assert back.macs_after == controller.dense_cost.macs_inference
    assert back.rate == 1.0
    assert last.measured == {"taken_back": 2.0}
    assert controller.cost().macs_inference <= 0.3 * controller.dense_cost.macs_inference
    assert "budget wins" in controller.summary()["guardrail"]["last"]["verdict"]
    json.dumps(back.record(), allow_nan=False)


def test_taking_back_restores_what_was_removed_and_keeps_what_was_learned() -> None:
    controller, model, optimizer = make(ONCE, guardrail=GUARDRAIL)
    stream = Stream()
    learn(controller, model, optimizer, stream, 39)
    before = copy.deepcopy(model.state_dict())
    assert kinds(learn(controller, model, optimizer, stream, 1, ruin=True))[-1][0] == "shrink"
    removed = sorted(set(range(32)) - set(controller.plan.units["top.0"]))
    learned = copy.deepcopy(model.state_dict())["top.0.weight"]
    kept = list(controller.plan.units["top.0"])
    assert kinds(learn(controller, model, optimizer, stream, 8, ruin=True))[-1][0] == "revert"
    weight = model.top[0].weight.detach()
    assert (weight[removed] - before["top.0.weight"][removed]).abs().max() <= 2 * 3e-3
    assert not torch.equal(weight[kept], before["top.0.weight"][kept])
    assert learned.shape[0] == len(kept)


def test_an_alarm_ends_the_comparison_without_a_verdict() -> None:
    drift = DriftMonitor(Cusum(rising_only=True, burn_in=3), slice_rows=25, cooldown_rows=0)
    controller, model, optimizer = make(
        Static(warmup_rows=2000), guardrail=Guardrail(windows=40), drift=drift
    )
    events = learn(controller, model, optimizer, Stream(turns_at=60), 100)
    found = kinds(events)
    assert found[found.index(("shrink", "warm-up")) + 1 :][:2] == [
        ("drift", "detector"),
        ("guardrail", "drift"),
    ]
    assert not controller.summary()["guardrail"]["comparing"]


class Fragile(nn.Module):
    """Dropout and running statistics: what a pass in between may not touch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1)
        )

    def forward(self, dense: torch.Tensor) -> torch.Tensor:
        return self.layers(dense)


def test_comparing_changes_nothing_in_what_is_learned() -> None:
    states = []
    for guardrail in (None, Guardrail(windows=1, tolerance=10.0)):
        torch.manual_seed(0)
        model = Fragile()
        optimizer = Adam(model.parameters(), 1e-2)
        controller = SparsityController(
            model,
            optimizer,
            policy=Static(warmup_rows=200, shrink_steps=3),
            budget=Budget(macs=0.4, min_units=4, round_to=4),
            example=torch.randn(4, 5, generator=torch.Generator().manual_seed(0)),
            window_rows=100,
            guardrail=guardrail,
        )
        stream, shapes = Stream(), []
        for step in range(30):
            dense, _, labels = stream.batch()
            model.train(step % 5 != 0)
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(model(dense)[:, 0], labels).backward()
            optimizer.step()
            controller.step(labels=labels)
            shapes.append((model.training, model.layers[3].training, controller.plan))
        states.append((shapes, {**model.state_dict(), "random": torch.get_rng_state()}))
    assert states[0][0] == states[1][0]
    for name, value in states[0][1].items():
        assert torch.equal(value, states[1][1][name]), name


def test_several_passes_before_a_step_are_paired_in_order() -> None:
    whole, model, optimizer = make(ONCE, guardrail=GUARDRAIL)
    halves, second, other = make(ONCE, guardrail=GUARDRAIL)
    streams = Stream(), Stream()
    learn(whole, model, optimizer, streams[0], 48)
    for _ in range(48):
        dense, emb, labels = streams[1].batch()
        other.zero_grad()
        for part in (slice(0, 20), slice(20, 50)):
            logits = second(dense[part], emb[part])
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, labels[part], reduction="sum"
            )
            (loss / len(labels)).backward()
        other.step()
        halves.step(labels=labels)
    wanted, found = (c.summary()["guardrail"]["last"] for c in (whole, halves))
    assert wanted.pop("verdict") == found.pop("verdict") == "passed"
    assert wanted["rows"] == 400
    assert found == pytest.approx(wanted, rel=1e-3)


def test_only_labelled_examples_count_and_all_must_be_those_that_were_learned() -> None:
    controller, model, optimizer = make(ONCE, guardrail=GUARDRAIL)
    stream = Stream()
    learn(controller, model, optimizer, stream, 40)
    dense, emb, labels = stream.batch()

    def step(given: torch.Tensor, passes: int = 1) -> None:
        for _ in range(passes):
            model(dense, emb).mean().backward()
        optimizer.zero_grad()
        controller.step(labels=given)

    unknown = labels.clone()
    unknown[::2] = np.nan
    step(unknown)
    step(torch.full_like(labels, np.nan), passes=3)
    assert controller.state_dict()["guard/blocks/open"].shape[0] == 0  # one block of 25
    assert controller.state_dict()["guard/blocks/count"] == 1
    with torch.no_grad():
        model(dense, emb)  # scoring passes are not learned, and not compared
    with pytest.raises(RunError, match=r"given 30 labels, but .* over 50 examples"):
        step(labels[:30])
    with pytest.raises(ConfigError, match="needs labels"):
        controller.step(rows=50)


def test_where_hardly_any_label_is_known_the_policy_is_not_held_up_for_ever() -> None:
    controller, model, optimizer = make(ONCE, guardrail=GUARDRAIL)
    stream, found = Stream(), []
    learn(controller, model, optimizer, stream, 40)
    for _ in range(40):
        dense, emb, labels = stream.batch()
        labels[1:] = np.nan
        model(dense, emb)[:1].mean().backward()
        optimizer.zero_grad()
        found += kinds(controller.step(labels=labels))
    assert found == [("guardrail", "unlabelled")]
    json.dumps(controller.summary(), allow_nan=False)


def test_a_run_resumed_before_in_and_after_a_comparison_ends_bit_identical() -> None:
    def fresh() -> Any:
        return make(
            FAST, guardrail=Guardrail(windows=2, wait_windows=1, tolerance=0.0, significance=0.0)
        )

    whole, stream, saved, events = fresh(), Stream(), {}, []
    steps, moments = 60, {6, 8, 12, 15, 17, 24, 28, 45}  # before, in and after the comparisons
    for step in range(steps):
        events.append([_stable(event) for event in learn(*whole, stream, 1)])
        if step in moments:
            saved[step] = copy.deepcopy([part.state_dict() for part in whole])
    happened = [event["kind"] for step in events for event in step]
    assert {"shrink", "guardrail", "revert"} <= set(happened)
    comparing = {step: bool(states[0]["guard/plan"]) for step, states in saved.items()}
    assert sum(comparing.values()) > 2, (comparing, happened)
    assert not all(comparing.values())
    wanted = outcome(*whole)
    for step, states in saved.items():
        resumed = fresh()
        for part, state in zip(resumed, states, strict=True):
            part.load_state_dict(state)
        again = Stream()
        for _ in range(step + 1):
            again.batch()
        found = [
            [_stable(event) for event in learn(*resumed, again, 1)] for _ in range(steps - step - 1)
        ]
        assert found == events[step + 1 :], step
        values = outcome(*resumed)
        assert values.keys() == wanted.keys()
        for key, value in wanted.items():
            assert torch.equal(values[key], value), (step, key)
        assert resumed[0].summary() == whole[0].summary()


def _stable(event: Event) -> dict[str, Any]:
    return {key: value for key, value in event.record().items() if key != "seconds"}


def test_a_state_in_the_middle_of_a_comparison_asks_for_the_guardrail() -> None:
    controller, model, optimizer = make(ONCE, guardrail=GUARDRAIL)
    learn(controller, model, optimizer, Stream(), 42)
    bare, _, _ = make(ONCE)
    with pytest.raises(ConfigError, match="resume with the guardrail"):
        bare.load_state_dict(controller.state_dict())
    assert bare.summary()["guardrail"].startswith("none")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"windows": 0}, "guardrail.windows = 0"),
        ({"retries": 0}, "guardrail.retries = 0"),
        ({"tolerance": -0.1}, "guardrail.tolerance"),
        ({"outputs": "odds"}, "logits or probabilities"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Guardrail(**settings)


class Ending(nn.Module):
    """A small model with an ending of one's choice."""

    def __init__(self, outputs: int, ending: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, outputs), ending)

    def forward(self, dense: torch.Tensor) -> torch.Tensor:
        return self.layers(dense).squeeze(1)


@pytest.mark.parametrize(
    ("outputs", "ending", "guardrail", "message"),
    [
        (1, nn.Sigmoid(), Guardrail(), "ends in a sigmoid"),
        (1, nn.Identity(), Guardrail(outputs="probabilities"), "outside"),
        (3, nn.Identity(), Guardrail(), "one logit or probability"),
        (1, nn.Sigmoid(), Guardrail(outputs="probabilities"), None),
        (1, nn.Identity(), Guardrail(), None),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused_at_the_start(
    outputs: int, ending: nn.Module, guardrail: Guardrail, message: str | None
) -> None:
    torch.manual_seed(1)
    model = Ending(outputs, ending)

    def construct() -> None:
        SparsityController(
            model,
            Adam(model.parameters()),
            policy=Static(),
            budget=Budget(macs=0.8),
            example=torch.randn(40, 5),
            guardrail=guardrail,
        )

    if message is None:
        construct()
    else:
        with pytest.raises(ConfigError, match=message):
            construct()


def test_a_descent_is_over_though_its_last_step_has_nothing_left_to_remove() -> None:
    early = Budget(macs=0.6, round_to=16)  # the last steps round to one plan
    policy = ADS(warmup_rows=2000, shrink_steps=4)
    controller, model, optimizer = make(policy, budget=early, guardrail=GUARDRAIL)
    stream = Stream()
    events = learn(controller, model, optimizer, stream, 48, ruin=True)
    assert kinds(events) == [("shrink", "warm-up"), ("revert", "worse")]
    assert controller.summary()["guardrail"]["taken_back_in_this_descent"] == 1
    events = learn(controller, model, optimizer, stream, 80)
    assert kinds(events)[-1] == ("keep", "step")
    assert controller.summary()["budget"]["macs"]["met"]
    assert controller.summary()["guardrail"]["taken_back_in_this_descent"] == 0
