"""Adds up moments of what layers read, for criteria of activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from stream_prune.errors import ConfigError
from stream_prune.sparsity.groups import Group, Member, owner
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.whole import present


class _Reader(NamedTuple):
    module: nn.Module
    axis: int  # of the module's input
    member: Member


class Reading:
    """Moments of every unit's activation, in passes that are trained on.

    A pass counts when gradients are recorded in it and an optimizer step follows; scoring passes
    leave no trace.

    Args:
        model: the model.
        layout: its groups; of each, the first layer that reads it is watched. Whole modules have
            no such layer and are left out.

    Raises:
        ConfigError: no Linear or Conv layer reads a group's units.
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        self._layout = layout
        self._readers = {
            group.name: _reader(model, group) for group in layout.groups if not group.whole
        }
        self._handles: list[RemovableHandle] = []
        self._pending: dict[str, Tensor] = {}
        self.moments: dict[str, Tensor] = {}

    def open(self, plan: Plan) -> None:
        """Start a scored window under ``plan``."""
        self.close()
        for name in self._names(plan):
            reader = self._readers[name]
            positions = self._layout.live_positions(reader.member, name, plan)
            hook = self._hook(name, reader.axis, positions)
            self._handles.append(reader.module.register_forward_pre_hook(hook, with_kwargs=True))

    def unseen(self, plan: Plan) -> list[str]:
        """Groups that should have been seen under the plan, and were not."""
        return [name for name in self._names(plan) if name not in self.moments]

    def _names(self, plan: Plan) -> list[str]:
        run = present(self._layout.groups, plan.widths)
        return [group.name for group in run if not group.whole]

    def close(self) -> None:
        """End it and forget what it collected."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._pending, self.moments = {}, {}

    def count(self, *, stepped: bool) -> None:
        """The passes since the last call were stepped on, or else are dropped."""
        if stepped:
            _add(self.moments, self._pending)
        self._pending = {}

    def _hook(
        self, name: str, axis: int, positions: Tensor
    ) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        taken, shape = positions.flatten(), positions.shape

        def read(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not torch.is_grad_enabled():
                return
            given: Tensor = (args[0] if args else kwargs["input"]).detach()
            first = given.movedim(axis, 0).flatten(1)
            values = first.index_select(0, taken.to(given.device)).double()
            sums = [values.sum(dim=1), values.square().sum(dim=1)]
            count = torch.full_like(sums[0], values.shape[1])
            moments = torch.stack([count, *sums], dim=-1).reshape(*shape, 3)
            _add(self._pending, {name: moments})

        return read


def _reader(model: nn.Module, group: Group) -> _Reader:
    for member in group.consumed:
        module, leaf = owner(model, member.param)
        if leaf == "weight" and isinstance(module, nn.Linear):
            return _Reader(module, -1, member)
        if leaf == "weight" and isinstance(module, nn.modules.conv._ConvNd):
            return _Reader(module, -1 - len(module.kernel_size), member)
    raise ConfigError(
        f"criterion = 'activation_variance': no Linear or Conv layer reads the units of "
        f"{group.name!r}, so their activation cannot be seen; use taylor, movement or magnitude"
    )


def _add(sums: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    """On the device where they come up, so that nobody waits for it."""
    for name, values in more.items():
        sums[name] = sums[name].to(values.device) + values if name in sums else values
