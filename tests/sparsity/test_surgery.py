"""Shrinking and restoring a model and its optimizer in place."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_models import MODELS, OPTIMIZERS, build, plans, proven, train
from torch import nn
from torch.optim import Adafactor, Optimizer

from stream_prune.errors import RunError
from stream_prune.sparsity.layout import gather
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize

FEW = settings(max_examples=8, deadline=None)


def trained(name: str, optimizer: str) -> tuple[nn.Module, Optimizer, tuple[torch.Tensor, ...]]:
    model, batch = build(name)
    model, inputs = model.double(), tuple(tensor.double() for tensor in batch(8))
    bound = OPTIMIZERS[optimizer](model.parameters())
    train(model, bound, inputs, 3)
    return model, bound, inputs


def everything(model: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for index, param in enumerate(model.parameters()):
        for key, value in optimizer.state.get(param, {}).items():
            values[f"{index}/{key}"] = torch.as_tensor(0.0 if value is None else value).clone()
    return values


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
@FEW
@given(data=st.data())
def test_shrink_then_restore_is_bit_exact(name: str, optimizer: str, data: st.DataObject) -> None:
    layout, mirror = proven(name).layout, Mirror()
    model, bound, _ = trained(name, optimizer)
    before, identities = everything(model, bound), [id(param) for param in model.parameters()]
    full = Plan.full(proven(name).groups)
    first, second = data.draw(plans(layout.groups)), data.draw(plans(layout.groups))
    for old, new in ((full, first), (first, second), (second, full)):
        resize(model, bound, layout, mirror, old, new)
    after = everything(model, bound)
    assert after.keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(after[key], value), key
    assert [id(param) for param in model.parameters()] == identities


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
@FEW
@given(data=st.data())
def test_a_compacted_model_is_the_masked_one(
    name: str, optimizer: str, data: st.DataObject
) -> None:
    layout = proven(name).layout
    model, bound, inputs = trained(name, optimizer)
    plan = data.draw(plans(layout.groups))
    masked, masked_bound = copy.deepcopy((model, bound))
    tensors = dict(masked.named_parameters())
    with torch.no_grad():
        for group in layout.groups:
            gone = sorted(set(range(group.units)) - set(plan.units[group.name]))
            for member in group.consumed:
                index = member.positions[gone].flatten()
                tensors[member.param].index_fill_(member.axis, index, 0.0)
    resize(model, bound, layout, Mirror(), Plan.full(layout.groups), plan)
    torch.testing.assert_close(model(*inputs), masked(*inputs), rtol=0, atol=1e-11)
    train(model, bound, inputs, 1)
    train(masked, masked_bound, inputs, 1)
    kept = layout.kept(plan)
    for key, param in model.named_parameters():
        wanted = masked.get_parameter(key)
        indices = kept.get(key, {})
        assert param.grad is not None
        assert wanted.grad is not None
        close = {"rtol": 0, "atol": 1e-10}
        torch.testing.assert_close(param.grad, gather(wanted.grad, indices), **close)
        torch.testing.assert_close(param.data, gather(wanted.data, indices), rtol=0, atol=1e-7)


def test_layers_report_the_size_that_they_have() -> None:
    model, _ = build("conv")
    layout = proven("conv").layout
    plan = Plan({"conv1": (0, 3, 7), "conv2": (1, 2), "wide": (0, 5), "narrow": (2, 3, 4)})
    resize(model, None, layout, Mirror(), Plan.full(layout.groups), plan)
    assert (model.conv1.in_channels, model.conv1.out_channels) == (2, 3)
    assert (model.depthwise.in_channels, model.depthwise.groups) == (3, 3)
    assert (model.norm1.num_features, model.norm2.num_features) == (3, 2)
    assert (model.wide.in_features, model.wide.out_features) == (8, 2)
    assert (model.out.in_features, model.out.weight.shape) == (5, (1, 5))
    assert model.norm1.running_mean.shape == (3,)


def test_the_previous_loss_may_still_be_in_scope() -> None:
    model, bound, inputs = trained("dlrm", "adam")
    layout = proven("dlrm").layout
    loss = model(*inputs).square().mean()
    loss.backward()
    bound.step()
    full = Plan.full(layout.groups)
    plan = Plan({name: kept[::2] for name, kept in full.units.items()})
    resize(model, bound, layout, Mirror(), full, plan)
    assert model.bottom[0].weight.grad is None
    train(model, bound, inputs, 1)
    assert torch.isfinite(loss)
    assert model.bottom[0].weight.grad.shape == (8, 5)


def test_nothing_changes_when_a_pending_graph_holds_a_parameter() -> None:
    model, bound, inputs = trained("mlp", "adam")
    layout = proven("mlp").layout
    before = everything(model, bound)
    pending = model(*inputs)
    plan = Plan({"layers.0": (0, 1), "layers.2": (3,)})
    with pytest.raises(RunError, match=r"torch.no_grad"):
        resize(model, bound, layout, Mirror(), Plan.full(layout.groups), plan)
    pending.sum().backward()
    assert all(torch.equal(value, before[k]) for k, value in everything(model, bound).items())


def test_an_optimizer_whose_state_cannot_follow_is_named_and_nothing_changes() -> None:
    model, batch = build("mlp")
    bound, inputs = Adafactor(model.parameters()), batch(8)
    train(model, bound, inputs, 1)
    layout = proven("mlp").layout
    plan = Plan({"layers.0": (0, 1), "layers.2": (3,)})
    with pytest.raises(RunError, match=r"Adafactor.*row_var.*layers.0.weight"):
        resize(model, bound, layout, Mirror(), Plan.full(layout.groups), plan)
    assert model.layers[0].weight.shape == (16, 6)


def test_state_that_appears_while_a_parameter_is_narrow_is_zero_for_restored_units() -> None:
    model, batch = build("mlp")
    bound, inputs = OPTIMIZERS["adam"](model.parameters()), batch(8)
    layout, mirror = proven("mlp").layout, Mirror()
    full, plan = Plan.full(layout.groups), Plan({"layers.0": (0, 2), "layers.2": (1,)})
    resize(model, bound, layout, mirror, full, plan)
    train(model, bound, inputs, 2)
    narrow = bound.state[model.layers[0].bias]["exp_avg"].clone()
    resize(model, bound, layout, mirror, plan, full)
    wide = bound.state[model.layers[0].bias]["exp_avg"]
    assert torch.equal(wide[[0, 2]], narrow)
    assert wide[1] == 0
    train(model, bound, inputs, 1)


def test_what_a_user_pinned_to_a_parameter_stays_with_it() -> None:
    model, _ = build("mlp")
    layout = proven("mlp").layout
    model.layers[0].weight.tag = "mine"
    plan = Plan({"layers.0": (4,), "layers.2": (5,)})
    resize(model, None, layout, Mirror(), Plan.full(layout.groups), plan)
    assert model.layers[0].weight.tag == "mine"
