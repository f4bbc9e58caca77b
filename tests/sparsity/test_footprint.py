"""A narrowed model takes the memory and the products that its plan says.

The files of an artifact are those of the live model: tests/artifact/test_pruned.py.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from every_model import EVERY, build, control, learn, proven, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_models import OPTIMIZERS, plans
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stream_prune.sparsity import Budget, Static
from stream_prune.sparsity.allocate import least_share
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=4)
@given(data=st.data())
def test_macs_and_parameters_are_those_of_the_live_model(name: str, data: st.DataObject) -> None:
    found = proven(name)
    model, inputs = build(name, 6)
    full, plan = Plan.full(found.groups), data.draw(plans(found.groups))
    resize(model, None, found.layout, Mirror(), full, plan)
    cost = found.cost.cost(plan)
    with FlopCounterMode(display=False) as forward:  # it cannot see into torch's fast attention,
        model.eval()(*inputs)  # which is taken where no gradient is wanted
    assert cost.macs_inference == forward.get_total_flops() / 2 / 6
    assert cost.parameters == sum(param.numel() for param in model.parameters())
    if plan != full:
        whole = found.cost.cost(full)
        assert cost.macs_inference < whole.macs_inference
        assert cost.parameters < whole.parameters


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=2)
@given(data=st.data())
def test_only_the_mirror_holds_on_to_the_full_size(name: str, data: st.DataObject) -> None:
    cost = proven(name).cost
    ladders = {"min_units": 1, "round_to": 1}
    optimizer = data.draw(st.sampled_from(sorted(OPTIMIZERS)))
    least = least_share(cost, Budget(macs=1.0, **ladders))
    share = data.draw(st.floats(least, 0.5 * (1 + least)))
    model, bound, inputs = trained(name, optimizer)
    widths = {key: tuple(param.shape) for key, param in model.named_parameters()}
    controller = control(
        name,
        model,
        bound,
        inputs,
        policy=Static(warmup_rows=8),
        budget=Budget(macs=share, **ladders),
        window_rows=8,
    )
    for _ in range(3):
        learn(model, bound, inputs)
        controller.step(rows=8)
    params = dict(model.named_parameters())
    narrowed = {shape for key, shape in widths.items() if params[key].shape != shape}
    matrices = {shape for shape in narrowed if len(shape) > 1}
    assert matrices
    ours = {id(param) for param in params.values()} | {id(p.grad) for p in params.values()}
    for param in params.values():
        states = [value for value in bound.state[param].values() if isinstance(value, Tensor)]
        assert all(value.shape in (param.shape, ()) for value in states)
        ours |= {id(value) for value in states}
    for tensor in tensors_within(model, bound, controller):
        if not tensor.is_floating_point():  # the places of units, by chance of a matrix's shape
            continue
        assert id(tensor) in ours or tuple(tensor.shape) not in matrices, tensor.shape
        # A view would keep the whole alive.
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    assert sum(param.numel() for param in params.values()) == controller.cost().parameters


def tensors_within(*roots: object) -> Iterator[Tensor]:
    """Every tensor that can be reached from some objects, but for what a mirror holds."""
    seen: set[int] = set()
    stack: list[Any] = list(roots)
    while stack:
        found = stack.pop()
        ours = isinstance(found, (Tensor, nn.Module)) or hasattr(found, "__dict__")
        if id(found) in seen or isinstance(found, (type, types.ModuleType, Mirror)):
            continue
        seen.add(id(found))
        if isinstance(found, Tensor):
            yield found
            stack.append(found.grad)
        if isinstance(found, types.FunctionType):
            stack += [found.__defaults__, found.__kwdefaults__]
            stack += [cell.cell_contents for cell in found.__closure__ or ()]
        elif isinstance(found, types.MethodType):
            stack.append(found.__self__)
        elif isinstance(found, dict):
            stack += [*found, *found.values()]
        elif isinstance(found, (list, tuple, set, frozenset, types.MappingProxyType)):
            stack += list(found.items() if isinstance(found, types.MappingProxyType) else found)
        elif ours:
            stack.append(vars(found))
            stack += [getattr(found, slot, None) for slot in getattr(found, "__slots__", ())]


def test_the_search_for_tensors_sees_what_hides_in_closures_and_attributes() -> None:
    hidden, pinned = torch.ones(3), torch.ones(4)
    model = nn.Linear(2, 1)
    model.register_forward_hook(lambda *_: hidden.sum() and None)
    model.pinned = {"deep": [(pinned,)]}
    found = {tuple(tensor.shape) for tensor in tensors_within(model)}
    assert found == {(1, 2), (1,), (3,), (4,)}
