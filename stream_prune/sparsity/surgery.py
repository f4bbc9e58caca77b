"""Surgery: makes the live tensors of a model and its optimizer match a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.sparsity.groups import named_tensors, owner
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.mirror import Store
from stream_prune.sparsity.optimizer_state import element_states
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.swap import check_swappable, swap, touch


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
    identity (:mod:`.swap`), so they stay bound in the optimizer; its state of the
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
        swap(live, mirror.take(name, after[name], live.device))
    depthwise = {id(module) for module in _owners(model, layout.depthwise)}
    for module in {id(m): m for m in _owners(model, changed)}.values():
        _follow_shapes(module, depthwise=id(module) in depthwise)
        touch(module)
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
        check_swappable(name, tensors[name])
    return states


def _same(a: dict[int, Tensor], b: dict[int, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[axis], b[axis]) for axis in a)


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
