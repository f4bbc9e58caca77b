"""Models under torch.compile."""

from __future__ import annotations

import copy
import shutil
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from plugin_models import build, proven, train
from test_controller import FAST, SmallDLRM, Stream, run
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.optim import Adam

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity import ADS, Budget, SparsityController
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.swap import check_swappable

CYCLE = ADS(
    warmup_rows=400,
    shrink_steps=1,
    settle_windows=1,
    regrow_density=1.0,
    regrow_windows=1,
    regrow_steps=1,
    clock_rows=400,
)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Counted:
    """A model that is compiled beside an eager copy, both resized alike."""

    def __init__(self, name: str, backend: str, way: str) -> None:
        eager, batch = build(name)
        model = copy.deepcopy(eager)
        self.counter, self.inputs = CompileCounterWithBackend(backend), batch(8)
        if way == "model.compile()":
            model.compile(backend=self.counter)
            self.called: Any = model
        else:
            self.called = torch.compile(model, backend=self.counter)
        self.models = (model, eager)
        self.optimizers = [Adam(each.parameters(), 1e-3) for each in self.models]
        self.lives = [
            LiveModel(each, bound, proven(name), {})
            for each, bound in zip(self.models, self.optimizers, strict=True)
        ]
        self.full = self.lives[0].full

    def part(self, first: int, step: int) -> Plan:
        return Plan({name: units[first::step] for name, units in self.full.units.items()})

    def under(self, plan: Plan) -> int:
        """Train and score under a plan, against the eager model; graphs compiled for it."""
        before = self.counter.frame_count
        for live in self.lives:
            live.resize_units(plan.units)
        for _ in range(2):
            for model, bound in zip((self.called, self.models[1]), self.optimizers, strict=True):
                train(model, bound, self.inputs, 1)
        with torch.no_grad():
            found, wanted = self.called(*self.inputs), self.models[1](*self.inputs)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        return self.counter.frame_count - before


@pytest.mark.parametrize("way", ["torch.compile(model)", "model.compile()"])
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_it_is_compiled_anew_for_new_shapes_alone(name: str, way: str) -> None:
    made = Counted(name, "eager", way)
    half, third = made.part(0, 2), made.part(0, 3)
    assert made.under(made.full) == 2  # with gradients, and without
    assert made.under(half) == 2
    assert made.under(made.part(1, 2)) == 0  # other units, the same shapes
    assert made.under(third) == 2
    for seen in (made.full, half, third, made.full):
        assert made.under(seen) == 0


def test_with_autograd_traced_too_the_outputs_are_the_eager_models() -> None:
    made = Counted("mlp", "aot_eager", "torch.compile(model)")
    compiled = [made.under(plan) for plan in (made.full, made.part(0, 2), made.full)]
    assert compiled == [2, 2, 0]


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_with_inductor_the_outputs_are_the_eager_models() -> None:
    made = Counted("mlp", "inductor", "torch.compile(model)")
    compiled = [made.under(plan) for plan in (made.full, made.part(0, 2), made.full)]
    assert compiled == [2, 2, 0]


def test_more_plans_than_dynamo_keeps_graphs_are_compiled_all_the_same() -> None:
    made = Counted("mlp", "eager", "torch.compile(model)")
    widths = [made.part(0, step) for step in (1, 2, 3, 5, 6, 8)]
    assert len({tuple(plan.widths.values()) for plan in widths}) == 6
    assert [made.under(plan) for plan in widths] == [2] * 6


@pytest.mark.parametrize("given", ["compiled", "plain"])
def test_the_controller_resizes_a_compiled_model_in_a_loop(given: str) -> None:
    ends = []
    for compiled in (True, False):
        torch.manual_seed(0)
        model: Any = SmallDLRM(width=32)
        called = torch.compile(model, backend="eager") if compiled else model
        optimizer = Adam(model.parameters(), 3e-3)
        controller = SparsityController(
            called if given == "compiled" else model,
            optimizer,
            policy=CYCLE,
            budget=Budget(macs=0.3, min_units=4, round_to=4),
            example=(torch.randn(4, 5), torch.randn(4, 3, 4)),
            window_rows=200,
        )
        events = run(controller, called, optimizer, Stream(), 40)
        ends.append(([event.kind for event in events], model.state_dict()))
    (kinds, values), (eager_kinds, eager_values) = ends
    assert kinds == eager_kinds
    assert {"shrink", "grow"} <= set(kinds)
    for name, value in values.items():
        torch.testing.assert_close(value, eager_values[name], rtol=1e-3, atol=1e-4)


def test_a_weak_reference_of_somebody_else_goes_on_meaning_the_parameter() -> None:
    model, _ = build("mlp")
    live = LiveModel(model, Adam(model.parameters()), proven("mlp"), {})
    weight = model.layers[0].weight
    reference = weakref.ref(weight)
    known = weakref.WeakKeyDictionary({model.layers[0]: "layer"})
    live.resize_units({"layers.0": (0, 1), "layers.2": (3,)})
    assert reference() is weight is model.layers[0].weight
    assert weight.shape == (2, 6)
    assert known[model.layers[0]] == "layer"


def test_a_reference_to_the_contents_of_a_parameter_is_refused_and_nothing_changes() -> None:
    model, _ = build("mlp")
    live = LiveModel(model, Adam(model.parameters()), proven("mlp"), {})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    watch = torch._C._WeakTensorRef(model.layers[2].bias)
    with pytest.raises(RunError, match=r"'layers.2.bias' cannot be resized in place"):
        live.resize_units({"layers.0": (0, 1), "layers.2": (3,)})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    del watch
    check_swappable("layers.2.bias", model.layers[2].bias)


def test_activations_of_a_compiled_model_cannot_be_a_criterion() -> None:
    model: nn.Module = SmallDLRM(width=32)
    made: dict[str, Any] = {
        "policy": FAST,
        "budget": Budget(macs=0.3, min_units=4, round_to=4),
        "example": (torch.randn(4, 5), torch.randn(4, 3, 4)),
    }
    model.compile(backend="eager")
    with pytest.raises(ConfigError, match="a compiled model does not show"):
        SparsityController(model, Adam(model.parameters()), criterion="activation_variance", **made)
