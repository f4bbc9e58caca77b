"""The controller: watches a training loop and resizes the model in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError
from stream_prune.sparsity.accumulation import Accumulation
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.compiled import is_compiled, plain
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.criteria import CRITERIA
from stream_prune.sparsity.criteria.collect import Collector
from stream_prune.sparsity.criteria.criterion import Activations, Criterion
from stream_prune.sparsity.events import Event
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.finite import FiniteSteps
from stream_prune.sparsity.guard import Guard
from stream_prune.sparsity.guardrail import Guardrail
from stream_prune.sparsity.live import LiveModel, check_budget
from stream_prune.sparsity.monitoring import Monitoring
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.optimizer_state import untrained
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.policies.policy import Policy, check_policy
from stream_prune.sparsity.progress import Progress
from stream_prune.sparsity.prove import prove
from stream_prune.sparsity.rates import RateMultiplier
from stream_prune.sparsity.readjust import Readjustment
from stream_prune.sparsity.recorder import Recorder
from stream_prune.sparsity.rows import RowTable
from stream_prune.sparsity.standing import constraints
from stream_prune.sparsity.twin import DerivingPolicy, Twin, check_twin
from stream_prune.sparsity.watch import Monitor, Values
from stream_prune.stateful import State


class SparsityController:
    """Shrinks and grows a model in place while it trains.

    Args:
        model: the full model (or its dense part) on its device; compiled (``torch.compile``) or
            not: it is compiled anew when its shapes are new.
        optimizer: a torch optimizer with element-wise state that trains it. Layers that it does
            not hold, unless they are frozen, stay dense. Its ``lr`` stays the user's: a multiplier
            is applied within its step, to the parameter groups that hold prunable parameters.
        policy: when and how much, e.g. ``ADS()``.
        budget: what a settled plan may cost.
        example: inputs as the model takes them: a tensor, a tuple of positional or a mapping of
            keyword arguments. A few examples are enough.
        drift: tells the policy when the stream has moved; None: never.
        criterion: importance of a unit: one of the names in ``CRITERIA``, or your own ``Weights``,
            ``Steps`` or ``Activations``.
        tables: embedding tables by name, whose capacities follow ``budget.rows``.
        window_rows: examples between two looks of the policy (an alarm ends a window early).
        on_resize: called with the new plan after the model has been resized.
        guardrail: compares every re-adjustment with the model before it and takes back what does
            harm, e.g. ``Guardrail()``; None: nothing is compared, and the summary says so.
        rescale: multiply the weights that read a narrowed group by sqrt(units / kept), so that a
            pruned model learns like one built at its size (measured in :mod:`.rescale`). Outputs
            change with it; with False, removing and adding units that nothing reads (outgoing
            weights zero) changes none.
        max_dropped_steps: optimizer steps in a row that may be dropped because gradients are not
            finite, before training counts as diverged.
        seed: of what a policy leaves to chance (``DSLUnits``).
        twin: a dense copy that the user trains beside the model, for a policy that derives the
            small model from it (``ADSShadow``).

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
        criterion: str | Criterion = "taylor",
        tables: Mapping[str, RowTable] | None = None,
        window_rows: int = 4096,
        on_resize: Callable[[Plan], None] | None = None,
        guardrail: Guardrail | None = None,
        rescale: bool = True,
        max_dropped_steps: int = 10,
        seed: int = 0,
        twin: Twin | None = None,
    ) -> None:
        measure = CRITERIA.get(criterion) if isinstance(criterion, str) else criterion
        if measure is None:
            raise ConfigError(f"criterion = {criterion!r}: must be one of {sorted(CRITERIA)}")
        if is_compiled(model) and isinstance(measure, Activations):
            raise ConfigError(
                f"criterion = {criterion!r}: it reads activations, which a compiled model does not "
                "show; use taylor, movement or magnitude"
            )
        model = plain(model)
        if window_rows < 1:
            raise ConfigError(f"window_rows = {window_rows}: must be at least 1")
        check_policy(policy)
        check_twin(twin, policy, model, optimizer)
        batch = Example(example)
        proven = prove(model, batch, untrained(model, optimizer))
        check_budget(proven, budget)
        self.groups = proven.groups
        self.refused: Mapping[str, str] = dict(sorted(proven.refused.items()))
        self._live = LiveModel(model, optimizer, proven, tables or {}, rescaled=rescale)
        self._budget, self._policy = budget, policy
        self._monitoring = Monitoring(drift, window_rows)
        self._batch_rows = batch.rows
        self._guard = Guard(guardrail, model, proven.layout, window_rows, batch)
        # First of all that hooks into the step: what is dropped here nobody else sees.
        self._finite = FiniteSteps(model, optimizer, max_dropped_steps)
        self._accumulation = Accumulation(optimizer)
        self._rate = RateMultiplier(optimizer, self._live.scaled_groups)
        scored = (model, optimizer) if twin is None else (twin.model, twin.optimizer)
        self._collector = Collector(*scored, proven.layout, measure)
        self._recorder = Recorder(self._live, self._rate)
        self._progress = Progress(policy, budget.macs, self.groups, seed)
        self._readjust = Readjustment(
            policy,
            budget,
            live=self._live,
            progress=self._progress,
            collector=self._collector,
            monitoring=self._monitoring,
            guard=self._guard,
            rate=self._rate,
            twin=twin,
            on_resize=on_resize,
        )
        self._readjust.start()

    @property
    def plan(self) -> Plan:
        """What is alive now."""
        return self._live.plan

    @property
    def rate(self) -> float:
        """The learning-rate multiplier in force."""
        return self._rate.value

    @property
    def dropped_steps(self) -> int:
        """Optimizer steps dropped because gradients were not finite."""
        return self._finite.dropped

    @property
    def dense_cost(self) -> Cost:
        """What the full model costs."""
        return self._live.cost(self._live.full)

    @property
    def soft_weight(self) -> float:
        """Weight of the twin's scores as soft targets of the live model at this moment."""
        policy: object = self._policy
        if not isinstance(policy, DerivingPolicy):
            return 0.0
        return policy.soft_weight(self._progress.policy_state)

    def cost(self) -> Cost:
        """What the live model costs."""
        return self._live.cost()

    def follow(self, model: nn.Module) -> None:
        """Resize a copy of the model, such as a moving average, together with it from now on.

        It is found by its tensors' names, in ``model`` or in a module inside of it (an
        ``AveragedModel``, a deepcopy, a wrapper around either), and resized at once if the live
        model is narrow. Its removed units are kept apart from the live model's: they come back with
        the copy's own values. Call it once for each copy, before a saved state is loaded.

        Raises:
            ConfigError: there is no copy in it, or its shapes are neither the full model's nor
                those that the live one has now.
        """
        self._live.follow(model)

    def summary(self) -> dict[str, Any]:
        """Groups, what was refused and why, widths, cost, budget, comparisons, as JSON values."""
        return self._recorder.summary(self._budget, self.refused) | {
            "budget": constraints(self._live, self._budget, self._progress.standing),
            "guardrail": self._guard.summary(),
            "reference": self._monitoring.reference.summary(),
        }

    def step(
        self,
        loss: float | Tensor | None = None,
        labels: Values | None = None,
        scores: Values | None = None,
        event_time: int | None = None,
        rows: int | None = None,
        reference: Values | None = None,
    ) -> tuple[Event, ...]:
        """Call it after ``optimizer.step()``; may resize the model.

        Where gradients are accumulated over micro-batches, call it after each of them or after
        every optimizer step, with what has been learned since the last call. While gradients wait
        for the optimizer nothing is resized: that comes with the call after its next step.

        Args:
            loss: the batch's mean loss; read only where labels or scores are missing.
            labels: [B] 0 or 1, NaN where unknown.
            scores: [B] probabilities given before the batch was learned.
            event_time: of the batch, ms since the epoch, for the record.
            rows: B, where neither labels nor scores are given (default: the example's rows).
            reference: [B] probabilities that a model trained beside this one gave for the same
                examples at the same time: a small dense model of the budget's size tells whether
                it would do as well, a dense one what the budget costs (see ``summary``).

        Returns:
            What happened; empty most of the time.

        Raises:
            ConfigError: what drift detection, the reference or the guardrail needs is missing or
                does not fit.
            DivergedError: gradients were not finite ``max_dropped_steps`` times in a row.
            RunError: the model had to be resized and could not be; it has not been changed.
        """
        progress, events = self._progress, list[Event]()

        def record(kind: str, trigger: str, **more: Any) -> None:
            rows, event = progress.rows, self._recorder.event
            events.append(event(kind, trigger, rows=rows, event_time=event_time, **more))

        for _ in range(self._finite.take()):
            record("dropped", "gradients")
        if rows is None:
            given = labels if labels is not None else scores
            rows = self._batch_rows if given is None else len(given)
        rows = int(rows)
        if progress.rows == 0 < rows:
            self._live.check_states()  # now that there are some: not only when it is to be resized
            if self.plan != self._live.full:
                cut = "rows" if self.plan.units == self._live.full.units else "shrink"
                record(cut, "start", before=self._live.full)
        progress.rows += rows
        progress.window_rows += rows
        signal = self._monitoring.observe(loss, labels, scores, reference, rows)
        alarm = signal if signal is not None and signal.alarm else None
        if alarm is not None:
            record("drift", "detector", signal=alarm)
        self._guard.observe(labels)
        waiting = self._accumulation
        waiting.remember(alarm)
        alarmed = waiting.alarm is not None and not self._guard.waiting
        ends = alarmed or self._guard.due(progress.window_rows)
        if ends and waiting.applied() and self._readjust.end_window(waiting.alarm, record):
            waiting.alarm = None  # the policy has heard it
        return tuple(events)

    def state_dict(self) -> State:
        return {
            **self._progress.state_dict(),
            **nested("live", self._live.state_dict()),
            **nested("finite", self._finite.state_dict()),
            **nested("accumulation", self._accumulation.state_dict()),
            **nested("collector", self._collector.state_dict()),
            **nested("monitoring", self._monitoring.state_dict()),
            **nested("guard", self._guard.state_dict()),
        }

    def load_state_dict(self, state: State) -> None:
        """Take up where ``state`` was saved; resizes the model to its plan.

        Load the controller first, into a model built full: afterwards the model's and the
        optimizer's own saved states, which have the plan's shapes, fit.

        Raises:
            ConfigError: the state belongs to another model, policy or kind of drift detection.
        """
        self._progress.load_state_dict(state)
        self._live.load_state_dict(part_of(state, "live"))
        self._finite.load_state_dict(part_of(state, "finite"))
        self._accumulation.load_state_dict(part_of(state, "accumulation"))
        self._collector.load_state_dict(part_of(state, "collector"), self._readjust.scored_plan)
        self._monitoring.load_state_dict(part_of(state, "monitoring"))
        policy_state = type(self._progress.policy_state)
        self._guard.load_state_dict(part_of(state, "guard"), self.plan, policy_state)
        self._readjust.follow_state()
