"""Shrinking and restoring a model and its optimizer in place."""

import pytest
import torch
from plugin_models import OPTIMIZERS, build, proven, train
from torch import nn
from torch.optim import Adafactor, Optimizer

from stream_prune.errors import RunError
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize


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


def test_a_depthwise_convolution_comes_back_from_a_single_channel() -> None:
    model, batch = build("conv")
    layout, mirror = proven("conv").layout, Mirror()
    full = Plan.full(layout.groups)
    narrow = Plan({name: kept[:1] for name, kept in full.units.items()})
    resize(model, None, layout, mirror, full, narrow)
    assert model.depthwise.groups == 1
    resize(model, None, layout, mirror, narrow, full)
    assert model.depthwise.groups == 8
    model(*batch(2))


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


def test_hooks_on_gradients_stay_with_a_parameter() -> None:
    model, batch = build("mlp")
    layout, weight = proven("mlp").layout, model.layers[0].weight
    seen: list[tuple[str, torch.Size]] = []
    weight.register_hook(lambda gradient: seen.append(("before", gradient.shape)))
    weight.register_post_accumulate_grad_hook(lambda p: seen.append(("after", p.grad.shape)))
    full, plan = Plan.full(layout.groups), Plan({"layers.0": (4, 5), "layers.2": (5,)})
    resize(model, None, layout, Mirror(), full, plan)
    model(*batch(4)).sum().backward()
    assert seen == [("before", (2, 6)), ("after", (2, 6))]


def test_a_graph_from_before_a_resize_is_not_run_again() -> None:
    model, batch = build("mlp")
    layout = proven("mlp").layout
    loss = model.layers[0](*batch(4)).sum()
    loss.backward(retain_graph=True)
    full, plan = Plan.full(layout.groups), Plan({"layers.0": (4, 5), "layers.2": (5,)})
    resize(model, None, layout, Mirror(), full, plan)
    with pytest.raises(RunError, match="from before the model was resized"):
        loss.backward()
