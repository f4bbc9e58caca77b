"""The controller: watches a training loop and resizes the model in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError
from stream_prune.sparsity.allocate import allocate
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.criteria import CRITERIA
from stream_prune.sparsity.criteria.collect import Collector
from stream_prune.sparsity.events import Event
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.live import LiveModel, check_budget
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.policies.policy import Grow, Keep, Observation, Policy, Shrink
from stream_prune.sparsity.prove import prove
from stream_prune.sparsity.rates import RateMultiplier
from stream_prune.sparsity.rows import RowTable, capacities
from stream_prune.sparsity.watch import Monitor, Signal, Values
from stream_prune.stateful import State


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

    Attributes:
        groups: what can be pruned.
        refused: layers that stay dense, with the reason.

    Raises:
        ConfigError: the model cannot be run on the example, or no plan can meet the budget.
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
        check_budget(proven, budget)
        self.groups = proven.groups
        self.refused: Mapping[str, str] = dict(sorted(proven.refused.items()))
        self._live = LiveModel(model, optimizer, proven, tables or {})
        self._budget, self._policy, self._drift = budget, policy, drift
        self._batch_rows, self._window_limit = batch.rows, window_rows
        self._on_resize = on_resize
        self._rate = RateMultiplier(optimizer, self._live.scaled_groups)
        self._collector = Collector(model, optimizer, proven.layout, CRITERIA[criterion])
        self._scores = {
            group.name: torch.ones(group.units, dtype=torch.float64) for group in self.groups
        }
        self._policy_state = policy.initial(budget.macs)
        self._rows = self._window_rows = 0
        if policy.rows_from_start:
            self._live.resize_tables(capacities(self._live.full.rows, budget))
        self._prepare_window()

    @property
    def plan(self) -> Plan:
        """What is alive now."""
        return self._live.plan

    @property
    def rate(self) -> float:
        """The learning-rate multiplier in force."""
        return self._rate.value

    @property
    def dense_cost(self) -> Cost:
        """What the full model costs."""
        return self._live.cost(self._live.full)

    def cost(self) -> Cost:
        """What the live model costs."""
        return self._live.cost()

    def summary(self) -> dict[str, Any]:
        """Groups, what was refused and why, widths and cost, as JSON values."""
        cost, dense = self.cost(), self.dense_cost
        return {
            "groups": {group.name: group.units for group in self.groups},
            "refused": dict(self.refused),
            "kept": self.plan.widths,
            "rows": dict(self.plan.rows),
            "macs": cost.macs_inference,
            "macs_dense": dense.macs_inference,
            "macs_budget": self._budget.macs,
            "parameters": cost.parameters,
            "parameters_dense": dense.parameters,
            "mirror_bytes": self._live.mirror_bytes,
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

        Raises:
            RunError: the model had to be resized and could not be; it has not been changed.
        """
        events: list[Event] = []
        if self._rows == 0 and self.plan.rows != self._live.full.rows:
            events.append(self._event("rows", "start", event_time, self._live.full))
        if rows is None:
            given = labels if labels is not None else scores
            rows = self._batch_rows if given is None else len(given)
        self._rows += rows
        self._window_rows += rows
        signal = self._observe(loss, labels, scores, rows)
        alarm = signal is not None and signal.alarm
        if alarm:
            events.append(self._event("drift", "detector", event_time, self.plan, signal))
        if alarm or self._window_rows >= self._window_limit:
            events += self._end_window(event_time, signal if alarm else None)
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

    def _end_window(self, event_time: int | None, alarm: Signal | None) -> list[Event]:
        scored = self._collector.ready
        if scored:
            self._remember(self._collector.scores())
        observation = Observation(
            rows=self._window_rows,
            share=self._live.share,
            budget=self._budget.macs,
            scored=scored,
            alarm=alarm is not None,
        )
        self._policy_state, decision = self._policy.step(self._policy_state, observation)
        self._window_rows = 0
        before, started = self.plan, time.perf_counter()
        if not isinstance(decision, Keep):
            self._apply(decision)
        self._prepare_window()
        if isinstance(decision, Keep):
            return []
        kind = "grow" if isinstance(decision, Grow) else "shrink"
        return [
            self._event(
                kind if self.plan != before else "keep",
                decision.trigger,
                event_time,
                before,
                alarm if decision.trigger == "drift" else None,
                time.perf_counter() - started,
            )
        ]

    def _apply(self, decision: Shrink | Grow) -> None:
        """Shrinking chooses among the live units, growing adds to them."""
        shrinks = isinstance(decision, Shrink)
        units = allocate(
            self._scores,
            self._live.proven.cost,
            self._budget,
            decision.density,
            eligible=self.plan.units if shrinks else None,
            held=None if shrinks else self.plan.units,
        )
        if self._live.resize_units(units):
            if self._drift is not None:
                self._drift.reset()
            if self._on_resize is not None:
                self._on_resize(self.plan)
        if shrinks and not self._policy.rows_from_start:
            self._live.resize_tables(capacities(self._live.full.rows, self._budget))

    def _prepare_window(self) -> None:
        self._rate.value = self._policy.rate(self._policy_state)
        if self._policy.wants_scores(self._policy_state, self._window_limit):
            self._collector.arm(self.plan)
        else:
            self._collector.disarm()

    def _remember(self, scores: Mapping[str, Tensor]) -> None:
        """Scores of the kept units; removed ones keep what they were last known for."""
        for name, values in scores.items():
            self._scores[name][list(self.plan.units[name])] = values

    def _event(
        self,
        kind: str,
        trigger: str,
        event_time: int | None,
        before: Plan,
        signal: Signal | None = None,
        seconds: float = 0.0,
    ) -> Event:
        return Event(
            kind=kind,
            rows=self._rows,
            event_time=None if event_time is None else int(event_time),
            trigger=trigger,
            severity=None if signal is None else float(signal.severity),
            value=None if signal is None else float(signal.value),
            density_before=self._live.density(before),
            density_after=self._live.density(self.plan),
            macs_before=self._live.cost(before).macs_inference,
            macs_after=self.cost().macs_inference,
            plan={"units": self.plan.widths, "rows": dict(self.plan.rows)},
            rate=self.rate,
            seconds=seconds,
        )

    def state_dict(self) -> State:
        state: State = {
            "policy": type(self._policy).__name__,
            "rows": self._rows,
            "window_rows": self._window_rows,
        }
        state.update(_prefixed("policy/", self._policy_state._asdict()))
        state.update(_prefixed("live/", self._live.state_dict()))
        state.update(_prefixed("collector/", self._collector.state_dict()))
        state.update({f"scores/{name}": values.clone() for name, values in self._scores.items()})
        if self._drift is not None:
            state.update(_prefixed("drift/", self._drift.state_dict()))
        return state

    def load_state_dict(self, state: State) -> None:
        """Take up where ``state`` was saved; resizes the model to its plan.

        Load the controller first, into a model built full: afterwards the model's and the
        optimizer's own saved states, which have the plan's shapes, fit.

        Raises:
            ConfigError: the state belongs to another model, policy or kind of drift detection.
        """
        policy = type(self._policy).__name__
        if state["policy"] != policy:
            raise ConfigError(f"saved controller: its policy is {state['policy']!r}, not {policy}")
        drift = _under(state, "drift/")
        if bool(drift) != (self._drift is not None):
            raise ConfigError("saved controller: drift detection is on in one and off in the other")
        self._live.load_state_dict(_under(state, "live/"))
        self._policy_state = type(self._policy_state)(**_under(state, "policy/"))
        self._scores = {name: values.clone() for name, values in _under(state, "scores/").items()}
        self._collector.load_state_dict(_under(state, "collector/"), self.plan)
        if self._drift is not None:
            self._drift.load_state_dict(drift)
        counters: dict[str, Any] = dict(state)
        self._rows, self._window_rows = int(counters["rows"]), int(counters["window_rows"])
        self._rate.value = self._policy.rate(self._policy_state)


def _prefixed(prefix: str, state: Mapping[str, Any]) -> State:
    return {prefix + key: value for key, value in state.items()}


def _under(state: State, prefix: str) -> dict[str, Any]:
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
