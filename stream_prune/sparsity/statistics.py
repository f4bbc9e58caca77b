"""Running statistics of a BatchNorm behind a layer whose weights are rescaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stream_prune.sparsity.groups import Group
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.plan import Plan

_READERS = (nn.Linear, nn.modules.conv._ConvNd)
_NORM = nn.modules.batchnorm._NormBase


def normalised(model: nn.Module, forward: Callable[[], Any]) -> dict[str, str]:
    """Layers whose very output a normalisation with running statistics takes; names to names."""
    outputs: dict[int, tuple[str, Tensor]] = {}  # held, so that no number is used twice
    found: dict[str, str] = {}

    def gives(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            del module, args
            outputs[id(output)] = (name, output)

        return hook

    def takes(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            del module
            if args and id(args[0]) in outputs:
                found[outputs[id(args[0])][0]] = name

        return hook

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, _READERS):
            handles.append(module.register_forward_hook(gives(name)))
        elif isinstance(module, _NORM) and module.running_mean is not None:
            handles.append(module.register_forward_pre_hook(takes(name)))
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return found


class Statistics:
    """Scales running statistics as the output that they describe is scaled by a resize.

    A layer that reads a narrowed group loses a part of its sum, and what is left is multiplied
    (:mod:`.rescale`). In training a BatchNorm behind it takes no notice; in evaluation it goes by
    its running statistics, which for some ten batches describe the layer as it was. An output's
    spread goes with the norm of its layer's weights as long as what they read is of like size, so
    mean (without the bias) and deviation are multiplied by the ratio of the norms: exact where the
    removed weights were zero. What the removed units added to the mean on average stays unknown.

    The project's own. On an MLP 256-128 with BatchNorm cut to 35 % of its units (three seeds), the
    logloss in evaluation right afterwards went from .508, .500, .499 to .495, .500, .493.

    Args:
        model: about to be resized.
        layout: its groups.
        behind: per layer the normalisation that takes its output.
    """

    def __init__(self, model: nn.Module, layout: Layout, behind: Mapping[str, str]) -> None:
        self._model, self._layout = model, layout
        self._read = {
            layer: [g.name for g in layout.groups if f"{layer}.weight" in _consumed(g)]
            for layer in behind
        }
        self._before = {
            layer: (norm, _weight(model, layer).detach().clone())
            for layer, norm in behind.items()
            if self._read[layer]
        }

    @torch.no_grad()
    def follow(self, old: Plan, new: Plan) -> None:
        """Once the model has been resized and its weights have been rescaled."""
        for layer, (name, before) in self._before.items():
            if all(old.widths[group] == new.widths[group] for group in self._read[layer]):
                continue  # units may have been exchanged, but nothing has been rescaled
            module = self._model.get_submodule(layer)
            norm: Any = self._model.get_submodule(name)
            after = _weight(self._model, layer)
            axis = 1 if getattr(module, "transposed", False) else 0
            was, now = self._common(f"{layer}.weight", axis, after, old, new)
            size = before.index_select(axis, was).norm()
            if not size > 0:
                continue
            ratio = after.index_select(axis, now).norm() / size
            bias = module.bias[now] if isinstance(module.bias, Tensor) else 0.0
            norm.running_mean[now] = bias + ratio * (norm.running_mean[now] - bias)
            norm.running_var[now] *= ratio.square()

    def _common(
        self, name: str, axis: int, weight: Tensor, old: Plan, new: Plan
    ) -> tuple[Tensor, Tensor]:
        """Where the units that live under both plans lie in the layer, before and after."""
        if axis not in self._layout.axes[name]:
            every = torch.arange(weight.shape[axis], device=weight.device)
            return every, every
        length = torch.arange(self._layout.axes[name][axis].length)
        kept = [self._layout.kept_axis(name, axis, plan) for plan in (old, new)]
        was, now = (length if indices is None else indices for indices in kept)
        common = was[torch.isin(was, now)]
        places = torch.searchsorted(was, common), torch.searchsorted(now, common)
        return places[0].to(weight.device), places[1].to(weight.device)


def _consumed(group: Group) -> set[str]:
    return set() if group.whole else {member.param for member in group.consumed}


def _weight(model: nn.Module, layer: str) -> Tensor:
    weight = model.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    return weight
