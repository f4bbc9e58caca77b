"""Copies of the model that are resized with it: moving averages of its weights, and the like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from stream_prune.errors import ConfigError
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.prove import Proven
from stream_prune.sparsity.renew import renew
from stream_prune.sparsity.rescale import rescale
from stream_prune.sparsity.statistics import Statistics
from stream_prune.sparsity.surgery import check, resize


class Follower:
    """One copy, with a mirror of its own: units come back with the values they had in it.

    Args:
        model: the copy.
        proven: the groups.
        mirror: where removed units of the copy are kept.
        rescaled: whether weights that read a narrowed group are multiplied in the live model.
    """

    def __init__(self, model: nn.Module, proven: Proven, mirror: Mirror, *, rescaled: bool) -> None:
        self.mirror = mirror
        self._model, self._layout, self._rescaled = model, proven.layout, rescaled
        self._behind = proven.behind if rescaled else {}

    def check(self, old: Plan, new: Plan) -> None:
        """Raises RunError where :meth:`resize` could not be done."""
        check(self._model, None, self._layout, old, new)

    def resize(self, old: Plan, new: Plan) -> None:
        """Take the copy from one plan to another, in place."""
        statistics = Statistics(self._model, self._layout, self._behind)
        if self._rescaled:
            rescale(self._model, self._layout, old, undo=True)
        resize(self._model, None, self._layout, self.mirror, old, new)
        if self._rescaled:
            rescale(self._model, self._layout, new)
        statistics.follow(old, new)

    def renew(self, plan: Plan, grown: Mapping[str, Sequence[int]]) -> None:
        """Units that begin anew in the live model do so in the copy."""
        renew(self._model, None, self._layout, plan, grown)

    @torch.no_grad()
    def restart(self, live: nn.Module) -> None:
        """The live model is another one now: go on from its values."""
        source = dict(named_tensors(live))
        for name, tensor in named_tensors(self._model):
            if name in source:
                tensor.copy_(source[name])


def followers(
    wrapper: nn.Module,
    live: nn.Module,
    proven: Proven,
    mirror: Mirror,
    plans: tuple[Plan, Plan],
    *,
    rescaled: bool,
) -> list[Follower]:
    """Followers for all copies of the live model in a wrapper, brought to the live model's plan.

    A copy is a module that has every prunable tensor under the name that it has in the model, in
    the full model's shapes or in those that the live model has now. What a copy of the second kind
    lacks begins with the values that the live model will get back.

    Args:
        wrapper: the copy, or a module with copies in it.
        live: the live model.
        proven: its groups.
        mirror: of the live model.
        plans: the full plan, and the one in force.
        rescaled: as in :class:`Follower`.

    Raises:
        ConfigError: there is no copy in it, or one has shapes of neither kind.
    """
    layout = proven.layout
    copies = list(_copies(wrapper, live, layout))
    if not copies:
        lacks = [sorted(layout.shapes.keys() - _names(module)) for module in wrapper.modules()]
        missing = min(lacks, key=len)
        why = f"no module of it has a {missing[0]!r}" if missing else "only the model itself"
        raise ConfigError(
            f"follow: {type(wrapper).__name__} holds no copy of {type(live).__name__} ({why}): "
            "give copy.deepcopy(model), torch.optim.swa_utils.AveragedModel(model), or a module "
            "that contains one"
        )
    full, plan = plans
    under = [_plan_of(copy, live, layout, full, plan) for copy in copies]
    found = []
    for copy, its in zip(copies, under, strict=True):
        own = Mirror()
        if its == plan != full:
            own.load_state_dict({k: v for k, v in mirror.state_dict().items() if "|" not in k})
        follower = Follower(copy, proven, own, rescaled=rescaled)
        follower.check(its, plan)
        follower.resize(its, plan)
        found.append(follower)
    return found


def _copies(module: nn.Module, live: nn.Module, layout: Layout) -> Iterator[nn.Module]:
    """Outermost copies; the live model itself, which a wrapper may hold too, is none."""
    if module is live:
        return
    if layout.shapes.keys() <= _names(module):
        yield module
        return
    for child in module.children():
        yield from _copies(child, live, layout)


def _names(module: nn.Module) -> set[str]:
    return {name for name, _ in named_tensors(module)}


def _plan_of(copy: nn.Module, live: nn.Module, layout: Layout, full: Plan, plan: Plan) -> Plan:
    """The plan that a copy is under, by its shapes."""
    mine, others = _shapes(copy, layout), _shapes(live, layout)
    shared = {id(tensor) for _, tensor in named_tensors(live)}
    for name, tensor in named_tensors(copy):
        if name in layout.shapes and id(tensor) in shared:
            raise ConfigError(f"follow: tensor {name!r} is the live model's own: give a copy of it")
    if mine == others:
        return plan
    if mine == layout.shapes:
        return full
    name = next(name for name in mine if mine[name] != others[name])
    raise ConfigError(
        f"follow: tensor {name!r} of the copy is {mine[name]}; in the full model it is "
        f"{layout.shapes[name]} and in the live one {others[name]}: give a copy of either"
    )


def _shapes(model: nn.Module, layout: Layout) -> dict[str, tuple[int, ...]]:
    tensors: dict[str, Tensor] = dict(named_tensors(model))
    return {name: tuple(tensors[name].shape) for name in layout.shapes}
