"""What holds of resizing for any plan, model and optimizer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from every_model import EVERY, LIBRARY, WITH_OPTIMIZERS, build, control, learn, proven, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_models import plans
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

import stream_prune.models
from stream_prune.sparsity import Budget, Static
from stream_prune.sparsity.example import flatten
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.layout import gather
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize

MANY = settings(max_examples=4)
FEW = settings(max_examples=2)


def test_every_model_of_the_library_is_listed() -> None:
    heads = {name for name in stream_prune.models.__all__ if name.endswith("Head")}
    assert heads <= {name.split()[0] for name in LIBRARY}, "list it in every_model.LIBRARY"


@torch.no_grad()
def zero_outgoing(model: nn.Module, name: str, plan: Plan) -> None:
    """Mask: nobody reads the units that the plan removes."""
    tensors = dict(named_tensors(model))
    for group in proven(name).groups:
        gone = sorted(set(range(group.units)) - set(plan.units[group.name]))
        for member in group.consumed:
            index = member.positions[gone].flatten()
            tensors[member.param].index_fill_(member.axis, index, 0.0)


def outputs(model: nn.Module, inputs: tuple[Any, ...]) -> list[Tensor]:
    with torch.no_grad():
        return [tensor.clone() for tensor in flatten(model(*inputs))]


def states(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Parameters, buffers and the optimizer's state, by name."""
    values = {name: tensor.detach().clone() for name, tensor in named_tensors(model)}
    for name, param in model.named_parameters():
        for key, value in optimizer.state.get(param, {}).items():
            values[f"{name}|{key}"] = torch.as_tensor(0.0 if value is None else value).clone()
    return values


@pytest.mark.parametrize("name", EVERY)
@MANY
@given(data=st.data())
def test_units_that_nobody_reads_come_and_go_without_a_change_of_the_output(
    name: str, data: st.DataObject
) -> None:
    model, inputs = build(name, 8)
    model.eval()
    layout, mirror, full = proven(name).layout, Mirror(), Plan.full(proven(name).groups)
    narrow = data.draw(plans(layout.groups))
    zero_outgoing(model, name, narrow)
    wide = outputs(model, inputs)
    close = {"rtol": 1e-5, "atol": 1e-5}
    resize(model, None, layout, mirror, full, narrow)
    torch.testing.assert_close(outputs(model, inputs), wide, **close)
    with torch.no_grad():
        for param in model.parameters():
            param.mul_(1.1)
    moved = outputs(model, inputs)
    resize(model, None, layout, mirror, narrow, full)
    torch.testing.assert_close(outputs(model, inputs), moved, **close)


@pytest.mark.parametrize("name", ["mlp", "dlrm", "multi-task", "packed attention"])
def test_a_controller_that_does_not_rescale_prunes_unread_units_without_a_trace(name: str) -> None:
    model, inputs = build(name, 8)
    groups, cost = proven(name).groups, proven(name).cost
    read = Plan({group.name: tuple(range(0, group.units, 2)) for group in groups})
    zero_outgoing(model, name, read)
    optimizer = SGD(model.parameters(), 0.0)
    controller = control(
        name,
        model,
        optimizer,
        inputs,
        policy=Static(warmup_rows=8),
        budget=Budget(macs=cost.share(read.widths), min_units=1, round_to=1),
        window_rows=8,
        rescale=False,
    )
    wide = outputs(model, inputs)
    for _ in range(2):
        learn(model, optimizer, inputs)
        controller.step(rows=8)
    assert controller.cost().macs_inference <= cost.cost(read).macs_inference
    torch.testing.assert_close(outputs(model, inputs), wide, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "optimizer"), WITH_OPTIMIZERS)
@FEW
@given(data=st.data())
def test_shrink_then_restore_is_bit_exact(name: str, optimizer: str, data: st.DataObject) -> None:
    layout, mirror = proven(name).layout, Mirror()
    model, bound, _ = trained(name, optimizer)
    before, identities = states(model, bound), [id(param) for param in model.parameters()]
    full = Plan.full(layout.groups)
    first, second = data.draw(plans(layout.groups)), data.draw(plans(layout.groups))
    for old, new in ((full, first), (first, second), (second, full)):
        resize(model, bound, layout, mirror, old, new)
    after = states(model, bound)
    assert after.keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(after[key], value), key
    assert [id(param) for param in model.parameters()] == identities


@pytest.mark.parametrize(("name", "optimizer"), WITH_OPTIMIZERS)
@FEW
@given(data=st.data())
def test_a_compacted_model_is_the_masked_one(
    name: str, optimizer: str, data: st.DataObject
) -> None:
    layout = proven(name).layout
    model, bound, inputs = trained(name, optimizer)
    plan = data.draw(plans(layout.groups))
    zero_outgoing(model, name, plan)
    masked, masked_bound = copy.deepcopy((model, bound))
    resize(model, bound, layout, Mirror(), Plan.full(layout.groups), plan)
    wanted, exact = outputs(masked, inputs), {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(outputs(model, inputs), wanted, **exact)
    learn(model, bound, inputs)
    learn(masked, masked_bound, inputs)
    kept = layout.kept(plan)
    for key, param in model.named_parameters():
        wide = masked.get_parameter(key)
        if param.grad is not None:
            assert wide.grad is not None
            part = gather(wide.grad, kept.get(key, {}))
            torch.testing.assert_close(param.grad, part, rtol=1e-8, atol=1e-10, msg=key)
    wanted_states = states(masked, masked_bound)
    for key, value in states(model, bound).items():
        part = wanted_states[key]
        if part.dim() > 0:
            part = gather(part, kept.get(key.partition("|")[0], {}))
        # Adam and RMSprop divide by the root of what may be all but zero.
        torch.testing.assert_close(value, part, rtol=1e-6, atol=1e-7, msg=key)
