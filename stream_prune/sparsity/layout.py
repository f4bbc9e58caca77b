"""From a plan to indices: which part of every full tensor is alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stream_prune.sparsity.groups import Group, Member, named_tensors, owner
from stream_prune.sparsity.plan import Plan

Kept = dict[int, Tensor]
"""Per pruned axis the kept indices of the full tensor, ascending (int64)."""


@dataclass(frozen=True)
class Axis:
    """One prunable axis of a tensor: its full length and the groups that lie along it."""

    length: int
    parts: tuple[tuple[str, Tensor], ...]


class Layout:
    """The groups seen from the tensors.

    Args:
        model: the full model (its shapes are read once, here).
        groups: the groups that plans will speak of.

    Attributes:
        depthwise: weights of convolutions that have a group of their own for every channel. Once
            narrowed to a single channel they look like any other.
    """

    def __init__(self, model: nn.Module, groups: Sequence[Group]) -> None:
        self.groups = tuple(groups)
        tensors = dict(named_tensors(model))
        parts: dict[str, dict[int, list[tuple[str, Tensor]]]] = {}
        for group in groups:
            # A whole module is left out with its tensors as they are.
            for member in () if group.whole else group.members:
                axes = parts.setdefault(member.param, {})
                axes.setdefault(member.axis, []).append((group.name, member.positions))
        self.shapes = {name: tuple(tensors[name].shape) for name in parts}
        self.depthwise = frozenset(
            name for name in parts if getattr(owner(model, name)[0], "groups", 1) > 1
        )
        self.axes: dict[str, dict[int, Axis]] = {
            name: {
                axis: Axis(self.shapes[name][axis], tuple(found))
                for axis, found in sorted(axes.items())
            }
            for name, axes in parts.items()
        }

    def kept(self, plan: Plan) -> dict[str, Kept]:
        """The kept indices of every axis that the plan shortens, per tensor."""
        return {
            name: {
                axis: indices
                for axis in axes
                if (indices := self.kept_axis(name, axis, plan)) is not None
            }
            for name, axes in self.axes.items()
        }

    def live_positions(self, member: Member, group: str, plan: Plan) -> Tensor:
        """A member's positions in the tensor as it is now: int64 [kept units, k]."""
        full = member.positions[torch.tensor(plan.units[group], dtype=torch.int64)]
        kept = self.kept_axis(member.param, member.axis, plan)
        return full if kept is None else torch.searchsorted(kept, full)

    def kept_axis(self, name: str, axis: int, plan: Plan) -> Tensor | None:
        """The kept indices of one axis, None when all of it is kept."""
        if axis not in self.axes.get(name, ()):
            return None
        alive = torch.ones(self.axes[name][axis].length, dtype=torch.bool)
        for group, positions in self.axes[name][axis].parts:
            removed = torch.ones(len(positions), dtype=torch.bool)
            removed[torch.tensor(plan.units[group], dtype=torch.int64)] = False
            alive[positions[removed].flatten()] = False
        return None if bool(alive.all()) else alive.nonzero().flatten()


def gather(full: Tensor, kept: Kept) -> Tensor:
    """The kept part of a full tensor, as a new contiguous tensor."""
    part = full
    for axis, indices in kept.items():
        part = part.index_select(axis, indices.to(full.device))
    return part.clone(memory_format=torch.contiguous_format) if part is full else part


def scatter(full: Tensor, kept: Kept, part: Tensor) -> None:
    """Write ``part`` back to where :func:`gather` took it from."""
    if not kept:
        full.copy_(part)
        return
    (axis, indices), *rest = kept.items()
    if rest:
        inner = full.index_select(axis, indices)
        scatter(inner, dict(rest), part)
        part = inner
    full.index_copy_(axis, indices, part.to(full.device))
