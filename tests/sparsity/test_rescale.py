"""Rescaling the weights that read a narrowed group."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_models import MODELS, build, plans, proven
from torch import nn

from stream_prune.errors import RunError
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.controller import SparsityController
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.policies.ads import ADS
from stream_prune.sparsity.prove import prove
from stream_prune.sparsity.rescale import rescale
from stream_prune.sparsity.surgery import resize


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_undoing_a_rescale_restores_every_weight_to_rounding(
    name: str, data: st.DataObject
) -> None:
    layout = proven(name).layout
    model = build(name)[0].double()
    plan = data.draw(plans(layout.groups))
    resize(model, None, layout, Mirror(), Plan.full(layout.groups), plan)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    rescale(model, layout, plan)
    rescale(model, layout, plan, undo=True)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=1e-14, atol=0.0)


@torch.no_grad()
def test_a_narrowed_layer_keeps_the_spread_of_its_input_to_the_next() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 512, bias=False), nn.Tanh(), nn.Linear(512, 64, bias=False))
    x = torch.randn(256, 16)
    layout = prove(model, Example((x,))).layout
    (group,) = layout.groups
    wide = model(x).std()
    plan = Plan({group.name: tuple(range(0, 512, 8))})
    resize(model, None, layout, Mirror(), Plan.full(layout.groups), plan)
    narrow = model(x).std()
    rescale(model, layout, plan)
    assert narrow / wide == pytest.approx(8**-0.5, rel=0.1)
    assert model(x).std() / wide == pytest.approx(1.0, rel=0.1)


def test_a_full_model_is_not_touched() -> None:
    layout = proven("mlp").layout
    model = build("mlp")[0]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    rescale(model, layout, Plan.full(layout.groups))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_refused_resize_changes_nothing_and_is_made_up_for() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    optimizer = torch.optim.Adam(model.parameters())
    controller = SparsityController(
        model,
        optimizer,
        policy=ADS(warmup_rows=100, shrink_steps=2),
        budget=Budget(macs=0.2),
        example=torch.randn(8, 10),
        window_rows=100,
    )

    def learn() -> None:
        optimizer.zero_grad()
        model(torch.randn(100, 10)).square().mean().backward()
        optimizer.step()

    learn()
    assert [event.kind for event in controller.step(rows=100)] == ["shrink"]
    learn()
    held = model(torch.randn(4, 10))  # a graph that nobody runs backward
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(RunError, match="held by an autograd graph"):
        controller.step(rows=100)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    del held
    learn()
    assert [event.kind for event in controller.step(rows=100)] == ["shrink"]
