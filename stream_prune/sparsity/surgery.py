"""Surgery: makes the live tensors of a model and its optimizer match a plan."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import RunError
from stream_prune.sparsity.groups import named_tensors, owner
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.mirror import Store
from stream_prune.sparsity.optimizer_state import element_states
from stream_prune.sparsity.plan import Plan

_MAX_REFERENCES = 2  # the parameter itself, and the gradient accumulator of a finished graph


@torch.no_grad()
def resize(
    model: nn.Module,
    optimizer: Optimizer | None,
    layout: Layout,
    mirror: Store,
    old: Plan,
    new: Plan,
) -> None:
    """Take the model from one plan to another, in place.

    Live values go to the mirror, the new plan's values come from it. Parameters keep their
    identity (``torch.utils.swap_tensors``), so they stay bound in the optimizer; its state of the
    parameter's shape moves with them, 0-dim state stays. Gradients of resized parameters are
    dropped, so it must run between an optimizer step and the next backward.

    Raises:
        RunError: the optimizer holds state of another shape, or somebody else holds on to a
            parameter. Nothing has been changed then.
    """
    before, after = layout.kept(old), layout.kept(new)
    tensors = dict(named_tensors(model))
    states = check(model, optimizer, layout, old, new)
    changed = list(states)
    for name in changed:
        live, shape = tensors[name], layout.shapes[name]
        mirror.put(name, shape, before[name], live)
        for key, value in states[name].items():
            mirror.put(f"{name}|{key}", shape, before[name], value)
            part = mirror.take(f"{name}|{key}", after[name], value.device)
            optimizer.state[live][key] = part  # type: ignore[union-attr]
        _swap(live, mirror.take(name, after[name], live.device))
    depthwise = {id(module) for module in _owners(model, layout.depthwise)}
    for module in {id(m): m for m in _owners(model, changed)}.values():
        _follow_shapes(module, depthwise=id(module) in depthwise)
    for group in layout.groups:
        for attribute, each in group.follows:
            module, leaf = owner(model, attribute)
            setattr(module, leaf, each * len(new.units[group.name]))


def check(
    model: nn.Module, optimizer: Optimizer | None, layout: Layout, old: Plan, new: Plan
) -> dict[str, dict[str, Tensor]]:
    """Whether :func:`resize` can be done now: per changing parameter, the state that moves with it.

    Raises:
        RunError: as :func:`resize`.
    """
    before, after = layout.kept(old), layout.kept(new)
    tensors = dict(named_tensors(model))
    changed = [name for name in layout.shapes if not _same(before[name], after[name])]
    states = {name: element_states(optimizer, name, tensors[name]) for name in changed}
    for name in changed:
        _check_swappable(name, tensors[name])
    return states


def _same(a: dict[int, Tensor], b: dict[int, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[axis], b[axis]) for axis in a)


def _check_swappable(name: str, tensor: Tensor) -> None:
    if weakref.getweakrefs(tensor):
        raise RunError(
            f"parameter {name!r} is watched by a weak reference (torch.compile holds some) and "
            "cannot be resized in place; wrap the model that is not compiled"
        )
    if tensor._use_count() > _MAX_REFERENCES:  # type: ignore[attr-defined]
        gc.collect()  # a finished pass may only be waiting in a reference cycle
    if tensor._use_count() > _MAX_REFERENCES:  # type: ignore[attr-defined]
        raise RunError(
            f"parameter {name!r} is held by an autograd graph that has not been run backward: "
            "call controller.step() right after optimizer.step(), and run other forward passes "
            "under torch.no_grad() or drop their outputs first"
        )


def _swap(live: Tensor, part: Tensor) -> None:
    if isinstance(live, nn.Parameter):
        replacement: Tensor = nn.Parameter(part, requires_grad=live.requires_grad)
        live.grad = None
    else:
        replacement = part
    replacement.__dict__.update(live.__dict__)  # what a user has pinned to it stays with it
    torch.utils.swap_tensors(live, replacement)  # type: ignore[no-untyped-call]


def _owners(model: nn.Module, names: Iterable[str]) -> Iterator[nn.Module]:
    for name in names:
        yield owner(model, name)[0]


def _follow_shapes(module: nn.Module, *, depthwise: bool) -> None:
    """Set a layer's size attributes from the shapes of its tensors."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.conv._ConvNd):
        out_axis, in_axis = (1, 0) if module.transposed else (0, 1)
        if depthwise:
            module.groups = module.weight.shape[0]
        module.out_channels = module.weight.shape[out_axis]
        module.in_channels = module.weight.shape[in_axis] * module.groups
    elif isinstance(module, (nn.modules.batchnorm._NormBase)):
        width = module.weight if module.weight is not None else module.running_mean
        if width is not None:
            module.num_features = width.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
