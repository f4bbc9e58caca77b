"""The policy of the shadow mode, and the twin that the small model is derived from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from stream_prune.errors import ConfigError
from stream_prune.sparsity import ADSShadow, Budget, SparsityController, Static, Twin
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.layout import gather
from stream_prune.sparsity.policies.policy import Derive, Keep, Observation

ROWS = 64


def observed(rows: int = 100, *, scored: bool, **more: Any) -> Observation:
    return Observation(rows, 0.2, 0.2, scored, more.pop("alarm", False), **more)


def decisions(policy: ADSShadow, windows: list[dict[str, Any]]) -> list[Any]:
    state, made = policy.initial(0.2), []
    for window in windows:
        wanted = policy.wants_scores(state, 100)
        state, decision = policy.step(state, observed(scored=wanted, **window))
        made.append("" if isinstance(decision, Keep) else decision.trigger)
    return made


def test_without_a_reason_the_clock_alone_derives():
    policy = ADSShadow(warmup_rows=200, every_rows=300)
    assert decisions(policy, [{}] * 9) == ["", "warm-up", "", "", "clock", "", "", "clock", ""]
    never = ADSShadow(warmup_rows=200, every_rows=None)
    assert decisions(never, [{}] * 9) == ["", "warm-up", *[""] * 7]


def test_an_alarm_derives_after_one_scored_window_of_the_moved_stream():
    policy = ADSShadow(warmup_rows=100, every_rows=None, settle_windows=1)
    windows: list[dict[str, Any]] = [{}, {"alarm": True}, {"alarm": True}, {}, {}]
    assert decisions(policy, windows) == ["warm-up", "", "", "drift", ""]
    deaf = ADSShadow(warmup_rows=100, every_rows=None, settle_windows=1, drift=False)
    assert decisions(deaf, windows) == ["warm-up", "", "", "", ""]


def test_a_better_twin_is_a_reason_only_where_that_is_asked_for():
    windows: list[dict[str, Any]] = [{}, {"worse": True}, {}, {}]
    asked = ADSShadow(warmup_rows=100, every_rows=None, settle_windows=0, guardrail=True)
    assert decisions(asked, windows) == ["warm-up", "", "guardrail", ""]
    other = ADSShadow(warmup_rows=100, every_rows=None, settle_windows=0)
    assert decisions(other, windows) == ["warm-up", "", "", ""]


def test_it_waits_for_scores_and_learns_fast_and_from_the_twin_after_a_derivation():
    policy = ADSShadow(warmup_rows=100, rate_sparse=2.0, distill_rows=150, distill_weight=0.3)
    state, decision = policy.step(policy.initial(0.2), observed(scored=False))
    assert isinstance(decision, Keep)
    assert (policy.rate(state), policy.soft_weight(state)) == (1.0, 0.0)
    state, decision = policy.step(state, observed(scored=True))
    assert decision == Derive(0.2, "warm-up")
    seen = []
    for _ in range(3):
        seen.append((policy.rate(state), policy.soft_weight(state)))
        state, _ = policy.step(state, observed(scored=False))
    assert seen == [(2.0, 0.3), (2.0, 0.3), (2.0, 0.0)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"warmup_rows": -1}, r"ads_shadow\.warmup_rows = -1: must be 0 or more"),
        ({"every_rows": 0}, r"ads_shadow\.every_rows = 0: must be 1 or more, or null"),
        ({"rate_sparse": 0.0}, r"ads_shadow\.rate_sparse = 0.0: must be positive"),
        ({"distill_weight": 0.0}, r"ads_shadow\.distill_weight = 0.0: must be in \(0, 1\]"),
    ],
)
def test_a_setting_out_of_range_is_named(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        ADSShadow(**values)


class Pair:
    """A small model and its twin on one synthetic stream, each with an optimizer of its own."""

    def __init__(self, optimizer: str = "adam", **policy: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.model.extend([nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)])
        self.shadow = copy.deepcopy(self.model)
        kind = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[optimizer]
        self.optimizer = kind(self.model.parameters(), lr=0.01)
        self.twin = Twin(self.shadow, kind(self.shadow.parameters(), lr=0.01))
        settings = {"warmup_rows": 4 * ROWS, "every_rows": 6 * ROWS, "rate_sparse": 1.0} | policy
        self.controller = SparsityController(
            self.model,
            self.optimizer,
            policy=ADSShadow(**settings),
            budget=Budget(macs=0.4, min_units=4, round_to=4),
            example=torch.randn(8, 6),
            window_rows=2 * ROWS,
            twin=self.twin,
        )

    def steps(self, first: int, last: int) -> list[Any]:
        """Steps number first to last of the stream; what the controller did."""
        events = []
        for step in range(first, last):
            x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(step))
            y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).float()
            pairs = ((self.shadow, self.twin.optimizer), (self.model, self.optimizer))
            for model, optimizer in pairs:
                loss = binary_cross_entropy_with_logits(model(x).squeeze(1), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            events += self.controller.step(loss=loss.detach(), rows=ROWS)
        return events

    def state(self) -> dict[str, Any]:
        return {
            "controller": self.controller.state_dict(),
            "model": copy.deepcopy(self.model.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "twin": copy.deepcopy(self.shadow.state_dict()),
            "twin_optimizer": copy.deepcopy(self.twin.optimizer.state_dict()),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.controller.load_state_dict(state["controller"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.shadow.load_state_dict(state["twin"])
        self.twin.optimizer.load_state_dict(state["twin_optimizer"])


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_the_derived_model_is_the_kept_part_of_the_twin_with_its_optimizer_state(optimizer: str):
    pair = Pair(optimizer)
    events = pair.steps(0, 4)
    assert [(event.kind, event.trigger) for event in events] == [("derive", "warm-up")]
    plan, layout = pair.controller.plan, pair.controller._live.proven.layout
    assert pair.controller.cost().macs_inference <= 0.4 * pair.controller.dense_cost.macs_inference
    full = dict(named_tensors(pair.shadow))
    kept = layout.kept(plan)
    rescaled = {member.param for group in layout.groups for member in group.consumed}
    for name, live in named_tensors(pair.model):
        expected = gather(full[name].detach(), kept.get(name, {}))
        if name in rescaled:
            # What reads narrowed groups is the twin's part times one factor.
            ratio = live / expected
            assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-5)
            assert ratio.flatten()[0] > 1
        else:
            assert torch.equal(live, expected), name
        for key, value in pair.optimizer.state.get(live, {}).items():
            whole = pair.twin.optimizer.state[full[name]][key]
            part = gather(whole, kept.get(name, {})) if whole.shape == full[name].shape else whole
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(part)), (name, key)
    assert pair.optimizer.state.keys() == set(pair.model.parameters())


def test_the_twin_is_left_alone_and_nothing_of_full_size_lives_in_the_small_model():
    pair, alone = Pair(), Pair()
    pair.steps(0, 12)
    for step in range(12):
        x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(step))
        y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).float()
        loss = binary_cross_entropy_with_logits(alone.shadow(x).squeeze(1), y)
        alone.twin.optimizer.zero_grad()
        loss.backward()
        alone.twin.optimizer.step()
    for mine, other in zip(pair.shadow.parameters(), alone.shadow.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert pair.controller.summary()["mirror_bytes"] == 0
    assert sum(p.numel() for p in pair.model.parameters()) < 0.6 * sum(
        p.numel() for p in pair.shadow.parameters()
    )


def test_the_pattern_moves_with_the_twin():
    pair = Pair()
    pair.steps(0, 4)
    before = pair.controller.plan
    events = pair.steps(4, 40)
    assert {event.kind for event in events} == {"derive"}
    assert {event.trigger for event in events} == {"clock"}
    assert len(events) == 6
    assert pair.controller.plan.units != before.units


@pytest.mark.parametrize("stop", [3, 4, 5, 9, 10, 11])
def test_a_run_taken_up_anywhere_around_a_derivation_ends_with_the_same_bits(stop: int):
    whole, first, second = Pair(), Pair(), Pair()
    whole.steps(0, 14)
    first.steps(0, stop)
    second.load(first.state())
    second.steps(stop, 14)
    expected, found = whole.state(), second.state()
    for part in ("model", "twin"):
        for name, value in expected[part].items():
            assert torch.equal(value, found[part][name]), (part, name)
    assert found["controller"].keys() == expected["controller"].keys()
    for key, value in expected["controller"].items():
        other = found["controller"][key]
        same = torch.equal(value, other) if isinstance(value, Tensor) else value == other
        assert same, key


def test_what_does_not_go_together_is_refused():
    pair = Pair()
    example, budget = torch.randn(8, 6), Budget(macs=0.5, min_units=4, round_to=4)
    build: Any = SparsityController
    with pytest.raises(ConfigError, match=r"policy ADSShadow .* needs a twin"):
        build(pair.shadow, pair.twin.optimizer, policy=ADSShadow(), budget=budget, example=example)
    whole = Pair()
    with pytest.raises(ConfigError, match=r"twin: policy Static derives nothing from it"):
        build(
            whole.model,
            whole.optimizer,
            policy=Static(),
            budget=budget,
            example=example,
            twin=whole.twin,
        )
    with pytest.raises(ConfigError, match="twin: its model is the same object"):
        Twin(whole.model, whole.optimizer).check(whole.model, whole.optimizer)
    narrow = nn.Sequential(nn.Linear(6, 8))
    with pytest.raises(ConfigError, match=r"twin: its model differs in 0\.weight"):
        Twin(narrow, torch.optim.SGD(narrow.parameters(), 0.1)).check(whole.model, whole.optimizer)
    with pytest.raises(ConfigError, match="its optimizer is SGD, the model's Adam"):
        Twin(whole.shadow, torch.optim.SGD(whole.shadow.parameters(), 0.1)).check(
            whole.model, whole.optimizer
        )
    with pytest.raises(ConfigError, match="holds no parameter of its model"):
        Twin(whole.shadow, whole.optimizer)
