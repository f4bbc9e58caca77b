"""The controller in a training loop."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from plugin_models import SmallDLRM, build
from torch import nn
from torch.optim import SGD, Adagrad, Adam

from stream_prune.drift import Cusum, DriftMonitor
from stream_prune.errors import ConfigError
from stream_prune.sparsity import ADS, Budget, Event, SparsityController, Static
from stream_prune.sparsity.criteria import CRITERIA

ROWS = 50
FAST = ADS(
    warmup_rows=400,
    shrink_steps=2,
    settle_windows=1,
    regrow_density=0.6,
    regrow_windows=2,
    regrow_steps=1,
    severity_full=None,
)


class Stream:
    """Clicks whose meaning turns around at a given step."""

    def __init__(self, turns_at: int = 10**9) -> None:
        self.generator = torch.Generator().manual_seed(3)
        self.turns_at, self.step = turns_at, 0

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        dense = torch.randn(ROWS, 5, generator=self.generator)
        emb = torch.randn(ROWS, 3, 4, generator=self.generator)
        labels = (dense[:, 0] > 0).float()
        self.step += 1
        return dense, emb, 1 - labels if self.step > self.turns_at else labels


def run(
    controller: SparsityController,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stream: Stream,
    steps: int,
) -> list[Event]:
    events: list[Event] = []
    for _ in range(steps):
        dense, emb, labels = stream.batch()
        logits = model(dense, emb)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scores = torch.sigmoid(logits).detach().numpy()
        events += controller.step(loss, labels.numpy(), scores, event_time=stream.step * 1000)
    return events


def make(policy: Any = FAST, **options: Any) -> tuple[SparsityController, nn.Module, Any]:
    torch.manual_seed(0)
    model = SmallDLRM(width=32)
    optimizer = options.pop("optimizer", Adam)(model.parameters(), 3e-3)
    settings: dict[str, Any] = {
        "budget": Budget(macs=0.3, min_units=4, round_to=4),
        "example": (torch.randn(4, 5), torch.randn(4, 3, 4)),
        "window_rows": 200,
        **options,
    }
    return SparsityController(model, optimizer, policy=policy, **settings), model, optimizer


def test_it_shrinks_to_the_budget_grows_on_drift_and_shrinks_again() -> None:
    drift = DriftMonitor(Cusum(rising_only=True), slice_rows=50, cooldown_rows=400)
    plans = []
    controller, model, optimizer = make(drift=drift, on_resize=plans.append)
    events = run(controller, model, optimizer, Stream(turns_at=100), 200)
    kinds = [(event.kind, event.trigger) for event in events]
    assert kinds == [
        ("shrink", "warm-up"),
        ("shrink", "step"),
        ("drift", "detector"),
        ("grow", "drift"),
        ("shrink", "regrown"),
    ]
    assert plans == [*plans[:3], controller.plan]
    alarm, grown = events[2], events[3]
    assert 5000 < alarm.rows < 6000
    assert alarm.severity is not None
    assert alarm.severity > 1
    assert (grown.severity, grown.value) == (alarm.severity, alarm.value)
    assert alarm.plan_before == alarm.plan == grown.plan_before == events[1].plan
    assert grown.plan_before["units"]["top.0"] < grown.plan["units"]["top.0"]
    assert grown.macs_before < grown.macs_after <= 0.6 * controller.dense_cost.macs_inference
    assert controller.cost().macs_inference <= 0.3 * controller.dense_cost.macs_inference
    assert sum(p.numel() for p in model.parameters()) == controller.cost().parameters
    for event in events:
        assert json.loads(json.dumps(event.record(), allow_nan=False))["kind"] == event.kind


def test_units_that_come_back_have_the_weights_they_left_with() -> None:
    controller, model, optimizer = make(
        ADS(warmup_rows=200, shrink_steps=1, clock_rows=200, regrow_density=1.0)
    )
    stream = Stream()
    run(controller, model, optimizer, stream, 3)
    assert not run(controller, model, optimizer, stream, 0)
    full = {name: p.detach().clone() for name, p in model.named_parameters()}
    events = run(controller, model, optimizer, stream, 1)
    assert [event.kind for event in events] == ["shrink"]
    kept = controller.plan.units["top.0"]
    removed = sorted(set(range(32)) - set(kept))
    run(controller, model, optimizer, stream, 4)
    assert controller.plan.widths["top.0"] == 32
    assert removed
    restored = model.top[0].weight[removed]
    one_step = (restored - full["top.0.weight"][removed]).abs().max()
    assert one_step <= 3e-3 * 1.01  # the step before the shrink is all that lies between


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("optimizer", [Adam, Adagrad, SGD])
def test_every_criterion_prunes_under_every_optimizer(criterion: str, optimizer: type) -> None:
    controller, model, bound = make(criterion=criterion, optimizer=optimizer)
    events = run(controller, model, bound, Stream(), 20)
    assert [event.kind for event in events] == ["shrink", "shrink"]
    share = controller.cost().macs_inference / controller.dense_cost.macs_inference
    assert 0.2 < share <= 0.3


def test_taylor_removes_the_units_that_do_nothing() -> None:
    controller, model, optimizer = make(Static(warmup_rows=200))
    idle = [1, 5, 6, 17]
    with torch.no_grad():
        model.top[2].weight[:, idle] = 0
    for param_group in optimizer.param_groups:
        param_group["lr"] = 0.0
    run(controller, model, optimizer, Stream(), 4)
    assert not set(idle) & set(controller.plan.units["top.0"])


def test_a_budget_below_the_minimum_widths_is_refused_with_the_least_share() -> None:
    with pytest.raises(ConfigError, match=r"budget.macs = 0.05: the least share .* is 0\.\d+"):
        make(budget=Budget(macs=0.05))


def test_a_model_without_prunable_groups_says_so() -> None:
    model = nn.Linear(3, 1)
    with pytest.raises(ConfigError, match=r"least share .* 1\.0000.*\(model\): its units"):
        SparsityController(
            model,
            SGD(model.parameters(), 0.1),
            policy=Static(),
            budget=Budget(macs=0.5),
            example=torch.randn(2, 3),
        )


class Table:
    def __init__(self, name: str, capacity: int) -> None:
        self.name, self.capacity, self.bytes_per_row = name, capacity, 64
        self.resized: list[int] = []

    def resize(self, n: int) -> None:
        self.capacity = n
        self.resized.append(n)


def test_tables_follow_the_row_budget_from_the_start_or_from_the_first_prune() -> None:
    for policy, early in ((FAST, True), (Static(warmup_rows=400), False)):
        tables = {"user": Table("user", 1001), "weekday": Table("weekday", 256)}
        budget = Budget(macs=0.3, rows=0.2, min_units=4, round_to=4)
        controller, model, optimizer = make(policy, tables=tables, budget=budget)
        assert tables["user"].resized == ([200] if early else [])
        events = run(controller, model, optimizer, Stream(), 20)
        assert tables["user"].resized == [200]
        assert tables["weekday"].resized == []
        assert [event.kind for event in events][:2] == (["rows", "shrink"] if early else ["shrink"])
        assert events[0].plan_before["rows"] == {"user": 1001, "weekday": 256}
        assert events[-1].plan["rows"] == {"user": 200, "weekday": 256}


def test_it_runs_on_the_loss_alone_and_asks_for_it_where_nothing_is_given() -> None:
    drift = DriftMonitor(slice_rows=40, cooldown_rows=0)
    controller, _, _ = make(drift=drift)
    controller.step(loss=torch.tensor(0.5), rows=100)
    assert drift.observe_loss(0.5, 0).slices == 2
    with pytest.raises(ConfigError, match="labels and scores, or the loss"):
        controller.step(rows=100)


def test_unlabelled_examples_count_as_rows_and_not_for_drift() -> None:
    drift = DriftMonitor(slice_rows=10, cooldown_rows=0)
    controller, _, _ = make(drift=drift)
    labels = np.array([1.0, np.nan] * 15)
    controller.step(labels=labels, scores=np.full(30, 0.5))
    assert drift.observe_loss(0.5, 0).slices == 1
    assert controller.state_dict()["rows"] == 30


def test_the_multiplier_reaches_only_groups_with_prunable_parameters() -> None:
    model, batch = build("dlrm")
    extra = nn.Parameter(torch.ones(3))
    optimizer = SGD([{"params": model.parameters()}, {"params": [extra]}], lr=0.1)
    controller = SparsityController(
        model,
        optimizer,
        policy=Static(warmup_rows=0, rate_sparse=4.0),
        budget=Budget(macs=0.5, min_units=1, round_to=1),
        example=batch(4),
        window_rows=1,
    )
    used = []
    optimizer.register_step_pre_hook(lambda o, *_: used.append([g["lr"] for g in o.param_groups]))
    for _ in range(2):
        model(*batch(4)).mean().backward()
        optimizer.step()
        controller.step()
    assert used == [[0.1, 0.1], [0.4, 0.1]]
    assert controller.rate == 4.0


def test_the_summary_is_plain_values_and_names_what_stays_dense() -> None:
    controller, _, _ = make()
    summary = json.loads(json.dumps(controller.summary()))
    assert set(summary["refused"]) == {"bottom.2", "top.4"}
    assert summary["kept"] == {"bottom.0": 32, "top.0": 32, "top.2": 8}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_a_gpu_shrinks_and_restores_bit_exactly() -> None:
    torch.manual_seed(0)
    model = SmallDLRM(width=32).cuda()
    optimizer = Adam(model.parameters(), 3e-3)
    inputs = torch.randn(64, 5).cuda(), torch.randn(64, 3, 4).cuda()
    controller = SparsityController(
        model,
        optimizer,
        policy=ADS(
            warmup_rows=64, shrink_steps=1, regrow_density=1.0, clock_rows=64, settle_windows=0
        ),
        budget=Budget(macs=0.3, min_units=4, round_to=4),
        example=inputs,
        window_rows=64,
    )
    model(*inputs).square().mean().backward()
    optimizer.step()
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    assert [event.kind for event in controller.step(rows=64)] == ["shrink"]
    assert model.top[0].weight.shape[0] < 32
    assert [event.kind for event in controller.step(rows=64)] == ["grow"]
    for name, param in model.named_parameters():
        assert param.is_cuda
        assert torch.equal(param, before[name]), name
    model(*inputs).square().mean().backward()
    optimizer.step()
