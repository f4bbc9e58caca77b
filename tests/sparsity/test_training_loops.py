"""The plugin in loops as people write them, through shrink and grow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from plugin_models import MLP, build, proven
from test_controller import ROWS, SmallDLRM, Stream
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from stream_prune.drift import Cusum, DriftMonitor
from stream_prune.errors import RunError
from stream_prune.sparsity import ADS, Budget, SparsityController
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.layout import gather
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.plan import Plan

CYCLE = ADS(
    warmup_rows=400,
    shrink_steps=1,
    settle_windows=1,
    regrow_density=1.0,
    regrow_windows=2,
    regrow_steps=1,
    clock_rows=400,
)
STEPS = 40


def controlled(model: nn.Module, optimizer: Optimizer, **options: Any) -> SparsityController:
    settings: dict[str, Any] = {
        "policy": CYCLE,
        "budget": Budget(macs=0.3, min_units=4, round_to=4),
        "example": (torch.randn(4, 5), torch.randn(4, 3, 4)),
        "window_rows": 200,
    }
    return SparsityController(model, optimizer, **settings | options)


class Masked:
    """A model that is resized beside a full one on which the same units are masked."""

    def __init__(self, optimizer: Callable[[nn.Module], Optimizer]) -> None:
        model, batch = build("mlp")
        self.small = model.double()
        self.full = copy.deepcopy(self.small)
        self.optimizers = optimizer(self.small), optimizer(self.full)
        self.live = LiveModel(self.small, self.optimizers[0], proven("mlp"), {}, rescaled=False)
        self.batch = batch
        self.saved: dict[str, Tensor] = {}

    def models(self) -> list[tuple[nn.Module, Optimizer]]:
        return list(zip((self.small, self.full), self.optimizers, strict=True))

    def resize(self, plan: Plan) -> None:
        """Units that go keep their values aside; those that come get theirs back, states too."""
        old = self.live.plan
        tensors = dict(named_tensors(self.full))
        for group in self.live.proven.groups:
            gone = sorted(set(old.units[group.name]) - set(plan.units[group.name]))
            come = sorted(set(plan.units[group.name]) - set(old.units[group.name]))
            for member in group.consumed:
                for key, tensor in self._of(member.param, tensors[member.param]):
                    saved = self.saved.setdefault(key, tensor.detach().clone())
                    for units, source, target in ((gone, tensor, saved), (come, saved, tensor)):
                        index = member.positions[units].flatten()
                        part = source.detach().index_select(member.axis, index)
                        target.data.index_copy_(member.axis, index, part)
        self.live.resize_units(plan.units)
        self.mask()

    def mask(self) -> None:
        tensors = dict(named_tensors(self.full))
        for group in self.live.proven.groups:
            gone = sorted(set(range(group.units)) - set(self.live.plan.units[group.name]))
            for member in group.consumed:
                index = member.positions[gone].flatten()
                tensors[member.param].data.index_fill_(member.axis, index, 0.0)

    def same(self) -> None:
        kept = self.live.proven.layout.kept(self.live.plan)
        full = dict(named_tensors(self.full))
        for name, tensor in named_tensors(self.small):
            wanted = gather(full[name].detach(), kept.get(name, {}))
            torch.testing.assert_close(tensor.detach(), wanted, rtol=0, atol=1e-9)

    def _of(self, name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
        state = self.optimizers[1].state.get(tensor, {})
        moved = [(f"{name}|{k}", v) for k, v in state.items() if v.shape == tensor.shape]
        return [(name, tensor), *moved]

    def cycle(self, learn: Callable[[nn.Module, Optimizer, tuple[Tensor, ...]], None]) -> None:
        """Through shrink, shrink and grow, learning under each plan; equal all the time."""
        whole = self.live.full.units
        for part in (slice(None), slice(0, None, 2), slice(0, None, 4), slice(0, None, 2)):
            self.resize(Plan({name: units[part] for name, units in whole.items()}))
            for _ in range(3):
                inputs = tuple(tensor.double() for tensor in self.batch(8))
                for model, optimizer in self.models():
                    learn(model, optimizer, inputs)
                self.mask()
                self.same()


def plain_step(model: nn.Module, optimizer: Optimizer, inputs: tuple[Tensor, ...]) -> None:
    optimizer.zero_grad()
    (model(*inputs) - 1.0).square().mean().backward()
    optimizer.step()


def two_groups(model: nn.Module) -> Optimizer:
    assert isinstance(model, MLP)
    last = list(model.layers[4].parameters())
    first = [p for p in model.parameters() if all(p is not other for other in last)]
    return SGD([{"params": first}, {"params": last, "lr": 0.05}], lr=0.01)


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "two parameter groups": two_groups,
    "sgd foreach": lambda model: SGD(model.parameters(), 0.01, foreach=True),
    "sgd fused": lambda model: SGD(model.parameters(), 0.01, fused=True),
    "adagrad fused": lambda model: Adagrad(model.parameters(), 0.01, fused=True),
    "adagrad foreach": lambda model: Adagrad(model.parameters(), 0.01, foreach=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loop_is_that_of_the_masked_full_model(optimizer: str) -> None:
    Masked(OPTIMIZERS[optimizer]).cycle(plain_step)


def test_clipped_gradients_are_those_of_the_masked_full_model() -> None:
    made = Masked(lambda model: SGD(model.parameters(), 0.1))

    def learn(model: nn.Module, optimizer: Optimizer, inputs: tuple[Tensor, ...]) -> None:
        optimizer.zero_grad()
        (model(*inputs) - 1.0).square().mean().backward()
        if model is made.full:  # masked weights have gradients, which are no part of the small one
            kept = made.live.proven.layout.kept(made.live.plan)
            for name, param in model.named_parameters():
                assert param.grad is not None
                for axis, indices in kept.get(name, {}).items():
                    gone = sorted(set(range(param.shape[axis])) - set(indices.tolist()))
                    param.grad.index_fill_(axis, torch.tensor(gone), 0.0)
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        assert norm > 0.05
        optimizer.step()

    made.cycle(learn)


SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "lambda": lambda optimizer: LambdaLR(optimizer, lambda step: 0.95**step),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=STEPS),
    "onecycle": lambda optimizer: OneCycleLR(optimizer, max_lr=3e-3, total_steps=STEPS + 1),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_runs_as_without_the_controller_and_is_multiplied_in_the_step(
    schedule: str,
) -> None:
    model = SmallDLRM(width=32)
    optimizer = AdamW(model.parameters(), 3e-3)
    alone = AdamW([nn.Parameter(torch.zeros(1))], 3e-3)
    controller = controlled(model, optimizer, policy=replace(CYCLE, rate_sparse=3.0))
    used, rates = list[float](), list[float]()
    optimizer.register_step_pre_hook(lambda o, *_: used.append(o.param_groups[0]["lr"]))
    schedules = SCHEDULES[schedule](optimizer), SCHEDULES[schedule](alone)
    stream, kinds = Stream(), list[str]()
    for _ in range(STEPS):
        rate, plain = controller.rate, alone.param_groups[0]["lr"]
        kinds += step(controller, model, optimizer, stream)
        alone.step()
        assert used[-1] == pytest.approx(rate * plain, rel=1e-12)
        rates.append(rate)
        for each in schedules:
            each.step()
        assert optimizer.param_groups[0]["lr"] == alone.param_groups[0]["lr"]
    assert {"shrink", "grow"} <= set(kinds)
    assert 3.0 in rates


def step(
    controller: SparsityController, model: nn.Module, optimizer: Optimizer, stream: Stream
) -> list[str]:
    dense, emb, labels = stream.batch()
    loss = binary_cross_entropy_with_logits(model(dense, emb), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return [event.kind for event in controller.step(rows=ROWS)]


def accumulated(every: str, zeroed: str, micro: int = 4) -> tuple[nn.Module, list[str]]:
    """A loop that steps every ``micro`` batches; the controller is called on each, or at steps."""
    torch.manual_seed(0)
    model = SmallDLRM(width=32)
    optimizer = Adam(model.parameters(), 3e-3)
    controller, stream, kinds = controlled(model, optimizer), Stream(), list[str]()
    for batch in range(micro * STEPS):
        dense, emb, labels = stream.batch()
        (binary_cross_entropy_with_logits(model(dense, emb), labels) / micro).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        steps = batch % micro == micro - 1
        if steps:
            optimizer.step()
            if zeroed == "at once":
                optimizer.zero_grad(set_to_none=batch % 2 == 0)
        if every == "micro-batch":
            kinds += [event.kind for event in controller.step(rows=ROWS)]
        elif steps:
            kinds += [event.kind for event in controller.step(rows=micro * ROWS)]
        if not steps:  # nothing that waits for the optimizer has been lost or changed
            after = [p.grad for p in model.parameters()]
            assert all(torch.equal(a, b) for a, b in zip(gradients, after, strict=True))
        if steps and zeroed == "later":
            optimizer.zero_grad()
    return model, kinds


@pytest.mark.parametrize("zeroed", ["at once", "later"])
def test_accumulated_gradients_are_never_lost_to_a_resize(zeroed: str) -> None:
    each, each_kinds = accumulated("micro-batch", zeroed)
    stepped, kinds = accumulated("step", zeroed)
    assert each_kinds == kinds
    assert {"shrink", "grow"} <= set(kinds)
    for (name, value), other in zip(
        each.state_dict().items(), stepped.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name


def test_an_alarm_within_an_accumulation_waits_for_the_step_and_survives_a_resume() -> None:
    def fresh() -> Any:
        torch.manual_seed(0)
        model = SmallDLRM(width=32)
        optimizer = Adam(model.parameters(), 3e-3)
        drift = DriftMonitor(Cusum(rising_only=True), slice_rows=50, cooldown_rows=0)
        policy = ADS(warmup_rows=200, shrink_steps=1, settle_windows=0, regrow_density=1.0)
        return controlled(model, optimizer, policy=policy, drift=drift), model, optimizer

    controller, model, optimizer = fresh()
    stream, generator = Stream(), torch.Generator().manual_seed(0)

    def backward(of: nn.Module) -> None:
        dense, emb, labels = stream.batch()
        binary_cross_entropy_with_logits(of(dense, emb), labels).backward()

    kinds: list[str] = []
    for _ in range(30):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
        loss = 0.5 + 0.01 * float(torch.randn((), generator=generator))
        kinds += [event.kind for event in controller.step(loss=loss, rows=50)]
    assert kinds == ["shrink"]
    optimizer.zero_grad()
    backward(model)  # a micro-batch, no step
    kinds = []
    while "drift" not in kinds:
        kinds += [event.kind for event in controller.step(loss=2.0, rows=50)]
    assert "grow" not in kinds
    states = copy.deepcopy([part.state_dict() for part in (controller, model, optimizer)])
    resumed = fresh()
    for part, state in zip(resumed, states, strict=True):
        part.load_state_dict(state)
    for control, net, bound in ((controller, model, optimizer), resumed):
        backward(net)
        bound.step()
        events = control.step(loss=0.5, rows=1)
        assert [(event.kind, event.trigger) for event in events] == [("grow", "drift")]
        assert events[0].severity > 1


def test_a_call_between_backward_and_step_is_told_how_to_do_it() -> None:
    model = SmallDLRM(width=32)
    optimizer = Adam(model.parameters(), 3e-3)
    controller, stream = controlled(model, optimizer), Stream()

    def too_early() -> None:
        dense, emb, labels = stream.batch()
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(dense, emb), labels).backward()
        controller.step(rows=ROWS)
        optimizer.step()

    for _ in range(6):  # the first window has four batches; its end waits three steps
        too_early()
    with pytest.raises(RunError, match=r"after optimizer.step\(\) and before the next backward"):
        too_early()
    assert model.top[0].weight.shape == (32, 10)


@pytest.mark.parametrize("fused", [False, True])
def test_autocast_and_a_grad_scaler(fused: bool) -> None:
    model = SmallDLRM(width=32)
    optimizer = Adam(model.parameters(), 3e-3, fused=fused)
    controller, stream, kinds = controlled(model, optimizer), Stream(), list[str]()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)
    losses = []
    for _ in range(STEPS):
        dense, emb, labels = stream.batch()
        with torch.autocast("cpu", torch.bfloat16):
            loss = binary_cross_entropy_with_logits(model(dense, emb), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        kinds += [event.kind for event in controller.step(rows=ROWS)]
        losses.append(loss.item())
    assert {"shrink", "grow"} <= set(kinds)
    assert "dropped" not in kinds
    assert losses[-1] < losses[0]
    assert all(param.dtype == torch.float32 for param in model.parameters())


class Tied(nn.Module):
    """Two towers that share a layer, and an output beside a parameter that no group has."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 16), nn.Linear(6, 16)
        self.right.weight = self.left.weight
        self.hidden, self.out = nn.Linear(16, 24), nn.Linear(24, 1)
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        both = torch.relu(self.left(x)) + torch.relu(self.right(-x))
        return self.out(torch.relu(self.hidden(both))).squeeze(1) + self.shift


def test_tied_weights_and_a_group_without_prunable_parameters() -> None:
    torch.manual_seed(0)
    model = Tied()
    rest = [param for param in model.parameters() if param is not model.shift]
    optimizer = Adam([{"params": rest}, {"params": [model.shift], "lr": 0.1}], 3e-3)
    controller = controlled(
        model,
        optimizer,
        example=torch.randn(4, 6),
        budget=Budget(macs=0.6, min_units=2, round_to=2),
    )
    previous, kinds = None, list[str]()
    for _ in range(STEPS):
        x = torch.randn(ROWS, 6)
        loss = binary_cross_entropy_with_logits(model(x), (x[:, 0] > 0).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kinds += [event.kind for event in controller.step(rows=ROWS)]
        assert model.right.weight is model.left.weight
        assert previous is None or bool(torch.isfinite(previous))
        previous = loss  # its graph is in scope through the next resize
    assert {"shrink", "grow"} <= set(kinds)
    assert model.shift.abs() > 0
