"""The controller: watches a training loop and resizes the model in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError
from stream_prune.sparsity.allocate import allocate, least_share
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.criteria import CRITERIA
from stream_prune.sparsity.criteria.collect import Collector
from stream_prune.sparsity.events import Event
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.policies.policy import Grow, Observation, Policy, Shrink
from stream_prune.sparsity.prove import prove
from stream_prune.sparsity.rates import RateMultiplier
from stream_prune.sparsity.rows import RowTable, capacities
from stream_prune.sparsity.surgery import resize
from stream_prune.stateful import State

Values = npt.NDArray[Any] | Tensor


class Signal(Protocol):
    """What a drift monitor answers."""

    @property
    def alarm(self) -> bool: ...

    @property
    def severity(self) -> float: ...

    @property
    def value(self) -> float: ...


class Monitor(Protocol):
    """A drift monitor, such as ``stream_prune.drift.DriftMonitor``."""

    def observe(self, labels: Values, scores: Values) -> Signal: ...

    def observe_loss(self, loss: float, rows: int) -> Signal: ...

    def reset(self) -> None: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class SparsityController:
    """Shrinks and grows a model in place while it trains.

    Args:
        model: the full model (or its dense part) on its device.
        optimizer: a torch optimizer with element-wise state that trains it. Its ``lr`` stays the
            user's: a multiplier is applied within its step, to the parameter groups that hold
            prunable parameters.
        policy: when and how much, e.g. ``ADS()``.
        budget: what a settled plan may cost.
        example: inputs as the model takes them: a tensor, a tuple of positional or a mapping of
            keyword arguments. A few examples are enough.
        drift: tells the policy when the stream has moved; None: never.
        criterion: importance of a unit, "taylor" or "magnitude".
        tables: embedding tables by name, whose capacities follow ``budget.rows``.
        window_rows: examples between two looks of the policy (an alarm ends a window early).
        on_resize: called with the new plan after the model has been resized.

    Raises:
        ConfigError: the model cannot be run on the example, or no plan can meet the budget.

    Source: the order of things (score, threshold, compact, restore) is this project's own; what a
    policy takes from a paper is said in its docstring.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        policy: Policy[Any],
        budget: Budget,
        example: Tensor | tuple[Any, ...] | Mapping[str, Any],
        drift: Monitor | None = None,
        criterion: str = "taylor",
        tables: Mapping[str, RowTable] | None = None,
        window_rows: int = 4096,
        on_resize: Callable[[Plan], None] | None = None,
    ) -> None:
        if criterion not in CRITERIA:
            raise ConfigError(f"criterion = {criterion!r}: must be one of {sorted(CRITERIA)}")
        if window_rows < 1:
            raise ConfigError(f"window_rows = {window_rows}: must be at least 1")
        batch = Example(example)
        proven = prove(model, batch)
        self.groups = proven.groups
        self.refused: Mapping[str, str] = dict(sorted(proven.refused.items()))
        self._layout, self._cost_model = proven.layout, proven.cost
        self._budget, self._policy, self._drift = budget, policy, drift
        self._check_budget()
        self._model, self._optimizer = model, optimizer
        self._tables = dict(tables or {})
        self._window_limit, self._batch_rows = window_rows, batch.rows
        self._on_resize = on_resize
        self._mirror = Mirror()
        self._full_rows = {name: table.capacity for name, table in self._tables.items()}
        self._full = Plan.full(self.groups, self._full_rows)
        self._plan = self._full
        self._rate = RateMultiplier(optimizer, self._scaled_groups())
        self._collector = Collector(model, optimizer, self._layout, CRITERIA[criterion])
        self._scores = {
            group.name: torch.ones(group.units, dtype=torch.float64) for group in self.groups
        }
        self._policy_state = policy.initial()
        self._rows = self._window_rows = 0
        self._alarm = False
        if policy.rows_from_start:
            self._resize_tables(capacities(self._full_rows, budget))
        self._prepare_window()

    @property
    def plan(self) -> Plan:
        """What is alive now."""
        return self._plan

    @property
    def rate(self) -> float:
        """The learning-rate multiplier in force."""
        return self._rate.value

    @property
    def dense_cost(self) -> Cost:
        """What the full model costs."""
        return self._cost_model.cost(self._full)

    def cost(self) -> Cost:
        """What the live model costs."""
        return self._cost_model.cost(self._plan)

    def summary(self) -> dict[str, Any]:
        """Groups, what was refused and why, widths, cost, for people (JSON values)."""
        cost, dense = self.cost(), self.dense_cost
        return {
            "groups": {group.name: group.units for group in self.groups},
            "refused": dict(self.refused),
            "kept": self._plan.widths,
            "rows": dict(self._plan.rows),
            "macs": cost.macs_inference,
            "macs_dense": dense.macs_inference,
            "macs_budget": self._budget.macs,
            "parameters": cost.parameters,
            "parameters_dense": dense.parameters,
            "mirror_bytes": self._mirror.nbytes,
            "rate": self.rate,
            "guardrail": "none: a re-adjustment is not compared with the model before it",
        }

    def step(
        self,
        loss: float | Tensor | None = None,
        labels: Values | None = None,
        scores: Values | None = None,
        event_time: int | None = None,
        rows: int | None = None,
    ) -> tuple[Event, ...]:
        """Call it after ``optimizer.step()``; may resize the model.

        Args:
            loss: the batch's mean loss; read only where labels or scores are missing.
            labels: [B] 0 or 1, NaN where unknown.
            scores: [B] probabilities given before the batch was learned.
            event_time: of the batch, ms since the epoch, for the record.
            rows: B, where neither labels nor scores are given (default: the example's rows).

        Returns:
            What happened; empty most of the time.
        """
        events: list[Event] = []
        if self._rows == 0 and self._plan.rows != self._full.rows:
            events.append(self._event("rows", "start", event_time, self._plan, 0.0))
        if rows is None:
            given = labels if labels is not None else scores
            rows = self._batch_rows if given is None else len(given)
        self._rows += rows
        self._window_rows += rows
        signal = self._observe(loss, labels, scores, rows)
        if signal is not None and signal.alarm:
            self._alarm = True
            events.append(self._event("drift", "detector", event_time, self._plan, 0.0, signal))
        if self._alarm or self._window_rows >= self._window_limit:
            events.extend(self._end_window(event_time, signal))
        return tuple(events)

    def _observe(
        self, loss: float | Tensor | None, labels: Values | None, scores: Values | None, rows: int
    ) -> Signal | None:
        if self._drift is None:
            return None
        if labels is not None and scores is not None:
            return self._drift.observe(labels, scores)
        if loss is not None:
            return self._drift.observe_loss(float(loss), rows)
        raise ConfigError("controller.step: drift detection needs labels and scores, or the loss")

    def _end_window(self, event_time: int | None, signal: Signal | None) -> list[Event]:
        started = time.perf_counter()
        scored = self._collector.ready
        if scored:
            self._remember(self._collector.scores())
        observation = Observation(
            rows=self._window_rows,
            share=self._cost_model.share(self._plan.widths),
            budget=self._budget.macs,
            scored=scored,
            alarm=self._alarm,
        )
        self._policy_state, decision = self._policy.step(self._policy_state, observation)
        before, events = self._plan, []
        if isinstance(decision, (Shrink, Grow)):
            shrinks = isinstance(decision, Shrink)
            units = allocate(
                self._scores,
                self._cost_model,
                self._budget,
                decision.density,
                eligible=before.units if shrinks else None,
                held=None if shrinks else before.units,
            )
            self._resize_units(Plan(units, before.rows))
            if shrinks and not self._policy.rows_from_start:
                self._resize_tables(capacities(self._full_rows, self._budget))
            kind = ("shrink" if shrinks else "grow") if self._plan != before else "keep"
            self._rate.value = self._policy.rate(self._policy_state)
            seconds = time.perf_counter() - started
            cause = signal if decision.trigger == "drift" else None
            events = [self._event(kind, decision.trigger, event_time, before, seconds, cause)]
        self._window_rows, self._alarm = 0, False
        self._prepare_window()
        return events

    def _prepare_window(self) -> None:
        self._rate.value = self._policy.rate(self._policy_state)
        if self._policy.wants_scores(self._policy_state, self._window_limit):
            self._collector.arm(self._plan)
        else:
            self._collector.disarm()

    def _remember(self, scores: Mapping[str, Tensor]) -> None:
        """Scores of the kept units; removed ones keep what they were last known for."""
        for name, values in scores.items():
            self._scores[name][list(self._plan.units[name])] = values

    def _resize_units(self, plan: Plan) -> None:
        if plan.units == self._plan.units:
            return
        resize(self._model, self._optimizer, self._layout, self._mirror, self._plan, plan)
        self._plan = plan
        if self._drift is not None:
            self._drift.reset()
        if self._on_resize is not None:
            self._on_resize(plan)

    def _resize_tables(self, rows: Mapping[str, int]) -> None:
        for name, table in self._tables.items():
            if table.capacity != rows[name]:
                table.resize(rows[name])
        self._plan = Plan(self._plan.units, dict(rows))

    def _check_budget(self) -> None:
        least = least_share(self._cost_model, self._budget)
        if least > self._budget.macs:
            refused = ", ".join(f"{name} ({why})" for name, why in self.refused.items()) or "none"
            raise ConfigError(
                f"budget.macs = {self._budget.macs}: the least share that can be reached is "
                f"{least:.4f}, with every prunable group at its minimum width "
                f"(min_units = {self._budget.min_units}, round_to = {self._budget.round_to}); "
                f"raise budget.macs or lower these. Layers that stay dense: {refused}"
            )

    def _scaled_groups(self) -> frozenset[int]:
        prunable = {
            id(param)
            for name, param in self._model.named_parameters()
            if name in self._layout.shapes
        }
        return frozenset(
            index
            for index, group in enumerate(self._optimizer.param_groups)
            if any(id(param) in prunable for param in group["params"])
        )

    def _event(
        self,
        kind: str,
        trigger: str,
        event_time: int | None,
        before: Plan,
        seconds: float,
        signal: Signal | None = None,
    ) -> Event:
        total = sum(group.units for group in self.groups) or 1
        return Event(
            kind=kind,
            rows=self._rows,
            event_time=None if event_time is None else int(event_time),
            trigger=trigger,
            severity=None if signal is None else float(signal.severity),
            value=None if signal is None else float(signal.value),
            density_before=sum(before.widths.values()) / total,
            density_after=sum(self._plan.widths.values()) / total,
            macs_before=self._cost_model.cost(before).macs_inference,
            macs_after=self._cost_model.cost(self._plan).macs_inference,
            plan={"units": self._plan.widths, "rows": dict(self._plan.rows)},
            rate=self.rate,
            seconds=seconds,
        )

    def state_dict(self) -> State:
        state: State = {
            "plan": json.dumps(self._plan.to_dict()),
            "groups": json.dumps({group.name: group.units for group in self.groups}),
            "policy": type(self._policy).__name__,
            "rows": self._rows,
            "window_rows": self._window_rows,
            "alarm": int(self._alarm),
        }
        state.update({f"policy/{k}": v for k, v in self._policy_state._asdict().items()})
        state.update({f"scores/{name}": scores.clone() for name, scores in self._scores.items()})
        state.update({f"collector/{k}": v for k, v in self._collector.state_dict().items()})
        if self._plan.units != self._full.units:
            state.update({f"mirror/{k}": v for k, v in self._mirror.state_dict().items()})
        if self._drift is not None:
            state.update({f"drift/{k}": v for k, v in self._drift.state_dict().items()})
        return state

    def load_state_dict(self, state: State) -> None:
        """Take up where ``state`` was saved; resizes the model to its plan.

        Load the controller first, into a model built full: afterwards the model's and the
        optimizer's own saved states, which have the plan's shapes, fit.

        Raises:
            ConfigError: the state belongs to another model, policy or kind of drift detection.
        """
        groups = json.dumps({group.name: group.units for group in self.groups})
        if state["groups"] != groups:
            raise ConfigError(
                f"saved controller: its groups {state['groups']!r} are not this model's {groups}; "
                "resume with the model and the example it was made for"
            )
        policy = type(self._policy).__name__
        if state["policy"] != policy:
            raise ConfigError(f"saved controller: its policy is {state['policy']!r}, not {policy}")
        plan = Plan.from_dict(json.loads(str(state["plan"])))
        if plan.units != self._plan.units:
            resize(self._model, self._optimizer, self._layout, self._mirror, self._plan, plan)
        self._plan = Plan(plan.units, self._plan.rows)
        self._resize_tables(plan.rows)
        self._mirror.load_state_dict(_under(state, "mirror/"))
        fields = _under(state, "policy/")
        self._policy_state = type(self._policy_state)(**fields)
        self._scores = {name: value.clone() for name, value in _under(state, "scores/").items()}
        self._collector.load_state_dict(_under(state, "collector/"), self._plan)
        drift = _under(state, "drift/")
        if bool(drift) != (self._drift is not None):
            raise ConfigError("saved controller: drift detection is on in one and off in the other")
        if self._drift is not None:
            self._drift.load_state_dict(drift)
        self._rows, self._window_rows = int(state["rows"]), int(state["window_rows"])
        self._alarm = bool(state["alarm"])
        self._rate.value = self._policy.rate(self._policy_state)


def _under(state: State, prefix: str) -> dict[str, Any]:
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
