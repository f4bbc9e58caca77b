"""Steps whose gradients are not finite."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from plugin_models import MLP, OPTIMIZERS, build
from torch import nn
from torch.optim import SGD, Adam, Optimizer, SparseAdam

from stream_prune.errors import ConfigError, DivergedError
from stream_prune.sparsity import (
    SET,
    Budget,
    ElementController,
    SparsityController,
    Static,
)
from stream_prune.sparsity.finite import FiniteSteps


def backward(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    model.zero_grad()
    (model(*inputs) - 1.0).square().mean().backward()


def everything(model: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        values |= {
            f"{index}/{key}": torch.as_tensor(value).clone()
            for key, value in state.items()
            if value is not None
        }
    return values


def poison(model: nn.Module, value: float = float("nan")) -> None:
    model.layers[2].weight.grad[3, 1] = value


def controlled(kind: str, model: nn.Module, optimizer: Optimizer, **options: Any) -> Any:
    example = build("mlp")[1](4)
    if kind == "elements":
        policy = SET(every=5)
        return ElementController(
            model, optimizer, policy=policy, density=0.5, example=example, **options
        )
    return SparsityController(
        model,
        optimizer,
        policy=Static(warmup_rows=12),
        budget=Budget(macs=0.6, min_units=2, round_to=1),
        example=example,
        window_rows=4,
        **options,
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["units", "elements"])
def test_nothing_moves_in_a_step_with_a_gradient_that_is_not_finite(
    kind: str, optimizer: str, value: float
) -> None:
    model, batch = build("mlp")
    bound = OPTIMIZERS[optimizer](model.parameters())
    controller, inputs = controlled(kind, model, bound), batch(8)
    for _ in range(2):
        backward(model, inputs)
        bound.step()
        controller.step(rows=0)
    before = everything(model, bound)
    backward(model, inputs)
    poison(model, value)
    bound.step()
    after = everything(model, bound)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(param.grad is None for param in model.parameters())
    events = controller.step(rows=0)
    assert [event.trigger for event in events if event.kind == "dropped"] == ["gradients"]
    assert controller.dropped_steps == 1
    backward(model, inputs)
    bound.step()
    assert "dropped" not in [event.kind for event in controller.step(rows=0)]
    assert not torch.equal(model.layers[2].weight, before["layers.2.weight"])


def test_a_run_goes_on_as_if_the_dropped_batch_had_not_been_there() -> None:
    clean, batch = build("mlp")
    dirty, inputs = copy.deepcopy(clean), batch(8)
    runs = []
    for model, bad in ((clean, False), (dirty, True)):
        bound = Adam(model.parameters(), 1e-2)
        controller = controlled("units", model, bound)
        for step in range(6):
            if bad and step in (1, 4):
                backward(model, inputs)
                poison(model)
                bound.step()
                controller.step(rows=0)
            backward(model, inputs)
            bound.step()
            controller.step(rows=4)
        runs.append((everything(model, bound), controller.plan))
    assert runs[0][1] == runs[1][1]
    assert sum(runs[0][1].widths.values()) < 28
    assert all(torch.equal(runs[1][0][key], value) for key, value in runs[0][0].items())


@pytest.mark.parametrize("kind", ["units", "elements"])
def test_too_many_in_a_row_are_an_error_that_names_the_first_parameter(kind: str) -> None:
    model, batch = build("mlp")
    bound, inputs = SGD(model.parameters(), 1e-2), batch(8)
    controller = controlled(kind, model, bound, max_dropped_steps=3)
    for bad in (True, True, False, True, True):
        backward(model, inputs)
        if bad:
            poison(model)
        bound.step()
        controller.step(rows=0)
    backward(model, inputs)
    model.layers[0].bias.grad[0] = float("inf")
    bound.step()
    with pytest.raises(DivergedError, match=r"3 optimizer steps in a row.*'layers.2.weight'"):
        controller.step(rows=0)
    assert controller.dropped_steps == 5


@pytest.mark.parametrize("kind", ["units", "elements"])
def test_what_was_dropped_is_in_the_state(kind: str) -> None:
    model, batch = build("mlp")
    bound, inputs = SGD(model.parameters(), 1e-2), batch(8)
    controller = controlled(kind, model, bound, max_dropped_steps=2)
    backward(model, inputs)
    poison(model)
    bound.step()
    state = controller.state_dict()  # before the event has been told
    other, _ = build("mlp")
    other_bound = SGD(other.parameters(), 1e-2)
    again = controlled(kind, other, other_bound, max_dropped_steps=2)
    again.load_state_dict(state)
    assert again.dropped_steps == 1
    assert "dropped" in [event.kind for event in again.step(rows=0)]
    backward(other, inputs)
    poison(other)
    other_bound.step()
    with pytest.raises(DivergedError):
        again.step(rows=0)


def test_huge_finite_gradients_are_applied() -> None:
    model = nn.Linear(4, 1)
    bound = SGD(model.parameters(), 1e-30)
    finite = FiniteSteps(model, bound, 1)
    model.weight.grad = torch.full((1, 4), 3e38)  # its norm is not finite
    model.bias.grad = torch.zeros(1)
    before = model.weight.detach().clone()
    bound.step()
    assert finite.dropped == 0
    assert (before - model.weight).min() > 1e8


def test_sparse_gradients_are_looked_at() -> None:
    model = nn.Embedding(10, 4, sparse=True)
    bound = SparseAdam(model.parameters(), 1e-2)
    finite = FiniteSteps(model, bound, 5)
    before = model.weight.detach().clone()
    for scale in (1.0, float("nan")):
        model.zero_grad()
        (model(torch.tensor([1, 3, 3])).sum() * scale).backward()
        bound.step()
        if scale == 1.0:
            assert not torch.equal(model.weight, before)
            before = model.weight.detach().clone()
    assert finite.dropped == 1
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_grad_scaler_drops_is_the_scalers(fused: bool) -> None:
    model, batch = build("mlp")
    bound, inputs = Adam(model.parameters(), 1e-2, fused=fused), batch(8)
    controller = controlled("units", model, bound)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=100)
    scales = []
    for step in range(4):
        bound.zero_grad()
        loss = (model(*inputs) - 1.0).square().mean()
        scaler.scale(loss).backward()
        if step == 1:
            poison(model, float("inf"))
        before = model.layers[0].weight.detach().clone()
        scaler.step(bound)
        scaler.update()
        scales.append(scaler.get_scale())
        assert torch.equal(before, model.layers[0].weight) == (step == 1)
        controller.step(rows=4)
    assert scales == [8.0, 4.0, 4.0, 4.0]
    assert controller.dropped_steps == 0
    assert sum(controller.plan.widths.values()) < 28


def test_a_limit_below_one_is_refused() -> None:
    model = MLP()
    with pytest.raises(ConfigError, match="max_dropped_steps = 0"):
        controlled("units", model, SGD(model.parameters(), 0.1), max_dropped_steps=0)
