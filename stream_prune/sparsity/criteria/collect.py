"""Collects a criterion's scores over the windows in which the policy asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from stream_prune.errors import RunError
from stream_prune.sparsity.allocate import normalise
from stream_prune.sparsity.criteria.activations import Reading
from stream_prune.sparsity.criteria.criterion import (
    Activations,
    Criterion,
    Slices,
    Steps,
    Weights,
)
from stream_prune.sparsity.groups import Group, Member, named_tensors
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.whole import ensembles, present
from stream_prune.stateful import State


class _LiveMember(NamedTuple):
    tensor: nn.Parameter
    axis: int
    taken: Tensor | None  # None: the whole axis, in order
    units: int


class Collector:
    """Adds up a criterion at the optimizer's steps, while armed.

    A step without any gradient (they were dropped) is none.

    Args:
        model: the model; its parameters are looked up when armed.
        optimizer: the optimizer whose step marks where weights and gradients belong together.
        layout: the groups.
        criterion: what to evaluate.

    Raises:
        ConfigError: the criterion cannot see one of the groups.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, layout: Layout, criterion: Criterion
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._layout = layout
        self._criterion = criterion
        self._reading = Reading(model, layout) if isinstance(criterion, Activations) else None
        self._placed: Mapping[str, tuple[int, ...]] | None = None  # the units that _places are of
        self._places: dict[Member, Tensor | None] = {}
        self._members: dict[str, tuple[list[_LiveMember], list[_LiveMember]]] = {}
        self._plan: Plan | None = None
        self._hook: RemovableHandle | None = None
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def arm(self, plan: Plan) -> None:
        """Start a scored window under ``plan``."""
        self.disarm()
        if plan.units != self._placed:
            self._placed, self._places = plan.units, {}
        tensors = dict(named_tensors(self._model))
        self._members = {
            group.name: (
                [
                    self._live(member, group, plan, tensors[member.param])
                    for member in (group.consumed if group.whole else group.produced)
                    if isinstance(tensors[member.param], nn.Parameter)
                ],
                [
                    self._live(member, group, plan, tensors[member.param])
                    for member in group.consumed
                ],
            )
            for group in present(self._layout.groups, plan.widths)
        }
        self._plan = plan
        if self._reading is not None:
            self._reading.open(plan)
        if not isinstance(self._criterion, Weights):
            self._hook = self._optimizer.register_step_pre_hook(self._before_step)

    def disarm(self) -> None:
        """End the scored window and forget what it collected."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = None
        if self._reading is not None:
            self._reading.close()
        self._members, self._sums, self._steps = {}, {}, 0

    @property
    def armed(self) -> bool:
        return bool(self._members)

    @property
    def ready(self) -> bool:
        """Whether scores are at hand."""
        return self.armed and (self._steps > 0 or isinstance(self._criterion, Weights))

    def scores(self) -> dict[str, Tensor]:
        """Per group float64 [K], divided by its mean over the kept units.

        Of whole modules the mean is that over all that are present of the module that holds them.
        Groups that were not run have none.

        Raises:
            RunError: a score is not finite.
        """
        scores = {name: values.cpu() for name, values in self._scores().items()}
        for name, values in scores.items():
            if not bool(torch.isfinite(values).all()):
                raise RunError(
                    f"group {name!r}: what was scored in the window is not finite; "
                    "lower the learning rate or go back to an earlier checkpoint"
                )
        found = {name: normalise(values) for name, values in scores.items()}
        whole = [group.name for group in self._layout.groups if group.whole and group.name in found]
        for names in ensembles(whole):
            joint = normalise(torch.cat([scores[name] for name in names]))
            found |= {name: value.view(1) for name, value in zip(names, joint, strict=True)}
        return found

    def _scores(self) -> dict[str, Tensor]:
        criterion = self._criterion
        if isinstance(criterion, Weights):
            return self._evaluate(criterion)
        if isinstance(criterion, Steps):
            return {name: criterion.settle(total) for name, total in self._sums.items()}
        assert self._reading is not None
        assert self._plan is not None
        unseen = self._reading.unseen(self._plan)
        if unseen:
            raise RunError(
                f"group {unseen[0]!r}: no activation was seen in the window; hooks do not run in a "
                "model compiled before (torch.compile): use criterion taylor, movement or magnitude"
            )
        return {name: criterion.score(seen) for name, seen in self._reading.moments.items()}

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        del args, kwargs
        stepped = any(
            param.grad is not None for group in optimizer.param_groups for param in group["params"]
        )
        if self._reading is not None:
            self._reading.count(stepped=stepped)
        if not stepped:
            return
        self._steps += 1
        if isinstance(self._criterion, Steps):
            for name, values in self._evaluate(self._criterion).items():
                before = self._sums.get(name)  # added up where it is: nobody waits for a device
                self._sums[name] = values if before is None else before.to(values.device) + values

    @torch.no_grad()
    def _evaluate(self, criterion: Weights | Steps) -> dict[str, Tensor]:
        return {
            name: criterion.score(_slices(produced), _slices(consumed))
            for name, (produced, consumed) in self._members.items()
        }

    def _live(self, member: Member, group: Group, plan: Plan, tensor: Tensor) -> _LiveMember:
        assert isinstance(tensor, nn.Parameter)
        if member not in self._places:  # most windows begin with the plan of the one before
            positions = self._layout.live_positions(member, group.name, plan).flatten()
            whole = torch.equal(positions, torch.arange(tensor.shape[member.axis]))
            self._places[member] = None if whole else positions
        taken = self._places[member]
        if taken is not None:
            taken = self._places[member] = taken.to(tensor.device)
        return _LiveMember(tensor, member.axis, taken, len(plan.units[group.name]))

    def state_dict(self) -> State:
        kept = self._sums if self._reading is None else self._reading.moments
        sums = {name: values.cpu().clone() for name, values in kept.items()}
        return {"armed": int(self.armed), "steps": self._steps, **nested("sum", sums)}

    def load_state_dict(self, state: dict[str, Any], plan: Plan) -> None:
        """Take up a scored window where it was left; the model must be under ``plan``."""
        self.disarm()
        if state["armed"]:
            self.arm(plan)
        self._steps = int(state["steps"])
        sums = {name: values.clone() for name, values in part_of(state, "sum").items()}
        if self._reading is None:
            self._sums = sums
        else:
            self._reading.moments = sums


def _slices(members: Sequence[_LiveMember]) -> list[Slices]:
    return [
        Slices(
            _by_unit(member.tensor, member),
            None if member.tensor.grad is None else _by_unit(member.tensor.grad, member),
        )
        for member in members
    ]


def _by_unit(tensor: Tensor, member: _LiveMember) -> Tensor:
    first = tensor.movedim(member.axis, 0)
    if member.taken is not None:
        first = first.index_select(0, member.taken)
    return first.reshape(member.units, -1)
