"""The live model: a model, its optimizer and its tables under a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError
from stream_prune.sparsity.allocate import holds_parameters, least_widths
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.compiled import make_room
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.exchange import newcomers
from stream_prune.sparsity.follow import Follower, followers
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.optimizer_state import element_states
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.prove import Proven
from stream_prune.sparsity.renew import renew
from stream_prune.sparsity.rescale import rescale
from stream_prune.sparsity.rows import RowTable, allotted
from stream_prune.sparsity.rows import resize as resize_rows
from stream_prune.sparsity.statistics import Statistics
from stream_prune.sparsity.surgery import check, resize
from stream_prune.sparsity.twin import Twin
from stream_prune.stateful import State


class LiveModel:
    """What is resized, with what it is now.

    Args:
        model: the full model.
        optimizer: trains it.
        proven: its groups.
        tables: embedding tables by name, at full capacity.
        rescaled: whether weights that read a narrowed group are multiplied (:mod:`.rescale`).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        proven: Proven,
        tables: Mapping[str, RowTable],
        *,
        rescaled: bool = True,
    ) -> None:
        self.proven = proven
        self.full = Plan.full(proven.groups, {name: t.capacity for name, t in tables.items()})
        self.plan = self.full
        self._model, self._optimizer, self._tables = model, optimizer, dict(tables)
        self._mirror = Mirror()
        self._followers: list[Follower] = []
        self.rescaled = rescaled

    def resize_units(self, units: Mapping[str, tuple[int, ...]]) -> bool:
        """Bring the model to these kept units; False when they are what is alive.

        Raises:
            RunError: the optimizer's state cannot follow, or a parameter is held elsewhere; the
                model is as it was.
        """
        plan = Plan(units, self.plan.rows)
        if plan == self.plan:
            return False
        layout = self.proven.layout
        self._check(plan)
        behind = self.proven.behind if self.rescaled else {}
        statistics = Statistics(self._model, layout, behind)
        if self.rescaled:
            rescale(self._model, layout, self.plan, undo=True)
        resize(self._model, self._optimizer, layout, self._mirror, self.plan, plan)
        if self.rescaled:
            rescale(self._model, layout, plan)
        statistics.follow(self.plan, plan)
        for follower in self._followers:
            follower.resize(self.plan, plan)
        self.plan = plan
        make_room()
        return True

    def check_states(self) -> None:
        """Raises RunError where the optimizer's state will not be able to follow a resize."""
        for name, tensor in named_tensors(self._model):
            if name in self.proven.layout.shapes:
                element_states(self._optimizer, name, tensor)

    def _check(self, plan: Plan) -> None:
        """Everything that could refuse to change is asked before anything does."""
        check(self._model, self._optimizer, self.proven.layout, self.plan, plan)
        for follower in self._followers:
            follower.check(self.plan, plan)

    def follow(self, wrapper: nn.Module) -> None:
        """Resize the copies of the model in ``wrapper`` with it from now on.

        Raises:
            ConfigError: there is none, or its shapes are neither the full nor the live model's.
        """
        self._followers += followers(
            wrapper,
            self._model,
            self.proven,
            self._mirror,
            (self.full, self.plan),
            rescaled=self.rescaled,
        )

    def derive(self, units: Mapping[str, tuple[int, ...]], twin: Twin) -> None:
        """Make the model the part of its twin that these units are.

        Raises:
            RunError: as :meth:`resize_units`; the model is as it was.
        """
        plan, layout = Plan(units, self.plan.rows), self.proven.layout
        self._check(plan)
        twin.derive(self._model, self._optimizer, layout, self.plan, plan)
        if self.rescaled:
            rescale(self._model, layout, plan)
        for follower in self._followers:
            follower.resize(self.plan, plan)
            follower.restart(self._model)
        self.plan = plan
        make_room()

    def exchange_units(self, units: Mapping[str, tuple[int, ...]]) -> bool:
        """As :meth:`resize_units`, but units that come begin anew: see :mod:`.renew`."""
        before = self.plan.units
        if not self.resize_units(units):
            return False
        come = newcomers(before, units)
        renew(self._model, self._optimizer, self.proven.layout, self.plan, come)
        for follower in self._followers:
            follower.renew(self.plan, come)
        return True

    def cut_tables(self, budget: Budget) -> bool:
        """Bring the tables to what the budget gives them now; whether that is another capacity."""
        rows = allotted(self._tables, self.full.rows, self.plan.rows, budget)
        if rows == self.plan.rows:
            return False
        self.resize_tables(rows)
        return True

    def resize_tables(self, rows: Mapping[str, int]) -> None:
        """Bring the tables to these capacities."""
        resize_rows(self._tables, rows)
        self.plan = Plan(self.plan.units, rows)

    def cost(self, plan: Plan | None = None) -> Cost:
        """What a plan costs; by default the one in force."""
        return self.proven.cost.cost(self.plan if plan is None else plan)

    @property
    def share(self) -> float:
        """MACs of the live model as a share of the full one's."""
        return self.proven.cost.share(self.plan.widths)

    def density(self, plan: Plan) -> float:
        """Kept units of a plan over all units."""
        return sum(plan.widths.values()) / max(1, sum(self.full.widths.values()))

    @property
    def mirror_bytes(self) -> int:
        """Host memory that the mirror holds."""
        return self._mirror.nbytes + sum(follower.mirror.nbytes for follower in self._followers)

    @property
    def scaled_groups(self) -> frozenset[int]:
        """The optimizer's parameter groups that hold prunable parameters, by index."""
        prunable = {
            id(param)
            for name, param in self._model.named_parameters()
            if name in self.proven.layout.shapes
        }
        return frozenset(
            index
            for index, group in enumerate(self._optimizer.param_groups)
            if any(id(param) in prunable for param in group["params"])
        )

    def state_dict(self) -> State:
        state: State = {
            "plan": json.dumps(self.plan.to_dict()),
            "groups": self._groups(),
            "rescaled": int(self.rescaled),
            "followers": len(self._followers),
        }
        if self.plan.units != self.full.units:  # otherwise nothing in the mirror is needed
            state |= nested("mirror", self._mirror.state_dict())
            for index, follower in enumerate(self._followers):
                state |= nested(f"follower{index}", follower.mirror.state_dict())
        return state

    def load_state_dict(self, state: State) -> None:
        """Resize to the saved plan; the values follow with the model's and optimizer's states.

        Raises:
            ConfigError: the state belongs to another model.
        """
        if state["groups"] != self._groups():
            raise ConfigError(
                f"saved controller: its groups are {state['groups']!r}, this model's "
                f"{self._groups()!r}; resume with the model and example it was made with"
            )
        if state["rescaled"] != int(self.rescaled):
            raise ConfigError(
                f"saved controller: rescale was {bool(state['rescaled'])}, here it is "
                f"{self.rescaled}; resume with what it was made with"
            )
        if state["followers"] != len(self._followers):
            raise ConfigError(
                f"saved controller: {state['followers']!r} copies of the model followed it, here "
                f"{len(self._followers)}; call controller.follow() on the same copies, in the same "
                "order, before the state is loaded"
            )
        plan = Plan.from_dict(json.loads(str(state["plan"])))
        if plan.rows.keys() != self.full.rows.keys():
            raise ConfigError(
                f"saved controller: its tables are {sorted(plan.rows)}, "
                f"these are {sorted(self.full.rows)}"
            )
        self.resize_units(plan.units)
        self.resize_tables(plan.rows)
        self._mirror.load_state_dict(part_of(state, "mirror"))
        for index, follower in enumerate(self._followers):
            follower.mirror.load_state_dict(part_of(state, f"follower{index}"))

    def _groups(self) -> str:
        return json.dumps({group.name: group.units for group in self.proven.groups})


def check_budget(proven: Proven, budget: Budget) -> None:
    """Raises ConfigError, with the reasons, when no plan can meet the budget."""
    if not isinstance(budget, Budget):
        raise ConfigError(f"budget = {budget!r}: must be a Budget, such as Budget(macs=0.2)")
    cost, widths = proven.cost, least_widths(proven.cost, budget)
    least = cost.share(widths)
    if least <= budget.macs and holds_parameters(cost, budget, widths):
        return
    name, limit = "macs", budget.macs
    if least <= budget.macs:
        name, limit, least = "parameters", budget.parameters or 0.0, cost.parameter_share(widths)
    left_out = ", of the modules that can be left out one in each ensemble" if cost.whole else ""
    dense = "; ".join(f"{name}: {why}" for name, why in sorted(proven.refused.items()))
    raise ConfigError(
        f"budget.{name} = {limit}: the least share that can be reached is {least:.4f}, with "
        f"every prunable group at its minimum width (min_units = {budget.min_units}, round_to = "
        f"{budget.round_to}){left_out}; raise budget.{name} or lower these. "
        f"Layers that stay dense: {dense or 'none'}"
    )
