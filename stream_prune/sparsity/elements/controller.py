"""The controller of elements: keeps a model's weights sparse while it trains."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError
from stream_prune.sparsity.compiled import plain
from stream_prune.sparsity.cost import Cost, dense_cost
from stream_prune.sparsity.elements.choose import choose
from stream_prune.sparsity.elements.live import LiveElements
from stream_prune.sparsity.events import Event
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.finite import FiniteSteps
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.policies.element_policy import ElementPolicy
from stream_prune.sparsity.policies.policy import Rewire
from stream_prune.sparsity.watch import Values
from stream_prune.stateful import State


class ElementController:
    """Holds most weights at zero from the start, and moves which ones while the model trains.

    It makes a model small at rest (:mod:`stream_prune.sparsity.elements.storage`), and computes no
    less: products stay dense. Everything but the choice of weights is in the optimizer's step:
    gradients of removed weights are zeroed before it (in place, so that its moments hold nothing
    for weights that are not there; a gradient norm taken earlier is the dense one's), removed
    weights after it. Not to be put on a model together with a ``SparsityController``.

    Args:
        model: the model, freshly initialised; its removed weights are set to zero at once, and
            those of a matrix that are kept multiplied by sqrt(all / kept), so that a layer's output
            spreads as it was initialised to (in the papers they are left as drawn).
        optimizer: a torch optimizer with element-wise state that trains it.
        policy: when to rewire and how much, e.g. ``RigL(anneal_steps=10_000)``.
        density: share of the masked tensors' weights that is kept, in (0, 1]; held to the weight.
        example: inputs as the model takes them, for the cost: a tensor, a tuple of positional or a
            mapping of keyword arguments.
        params: names of the parameters to mask; None: every matrix.
        seed: of masks and of growth at random.
        max_dropped_steps: optimizer steps in a row that may be dropped because gradients are not
            finite, before training counts as diverged.

    Attributes:
        refused: parameters that stay dense, with the reason.
        dense_cost: what the model costs without masks.

    Raises:
        ConfigError: the model cannot be run on the example, a parameter cannot be masked, or the
            density leaves less than one weight per tensor.

    >>> import torch
    >>> from stream_prune.sparsity.policies.rigl import RigL
    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> controller = ElementController(
    ...     model, optimizer, policy=RigL(anneal_steps=9), density=0.25, example=torch.zeros(2, 8)
    ... )
    >>> [int(weight.count_nonzero()) for weight in (model[0].weight, model[2].weight)]
    [21, 15]
    >>> controller.cost()
    Cost(macs_inference=144, macs_training=304, parameters=53)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        policy: ElementPolicy[Any],
        density: float,
        example: Tensor | tuple[Any, ...] | Mapping[str, Any],
        params: Collection[str] | None = None,
        seed: int = 0,
        max_dropped_steps: int = 10,
    ) -> None:
        model, batch = plain(model), Example(example)
        masked, refused = choose(model, optimizer, params)
        self.refused: Mapping[str, str] = dict(sorted(refused.items()))
        self.dense_cost: Cost = dense_cost(model, batch)
        # First of all that hooks into the step: what is dropped here nobody else sees.
        self._finite = FiniteSteps(model, optimizer, max_dropped_steps)
        self._live = LiveElements(
            masked, optimizer, density=density, spread=policy.densities, seed=seed
        )
        self._policy, self._policy_state = policy, policy.initial()
        self._live.scoring = policy.wants_gradient(self._policy_state)
        self._batch_rows, self._rows = batch.rows, 0

    @property
    def density(self) -> float:
        """Kept weights over all weights of the masked tensors."""
        return self._live.density

    @property
    def plan(self) -> None:
        """The model is never resized."""
        return

    @property
    def rate(self) -> float:
        """The learning rate is left alone."""
        return 1.0

    @property
    def dropped_steps(self) -> int:
        """Optimizer steps dropped because gradients were not finite."""
        return self._finite.dropped

    def mask(self, name: str) -> Tensor:
        """The kept weights of a masked parameter: bool of its shape."""
        return self._live.masks.kept(name)

    def cost(self) -> Cost:
        """MACs are the dense model's; parameters are those that are not held at zero."""
        return self.dense_cost._replace(parameters=self.dense_cost.parameters - self._live.removed)

    def summary(self) -> dict[str, Any]:
        """What is masked, what is not and why, and the cost, as JSON values."""
        cost, dense = self.cost(), self.dense_cost
        return {
            "weights": dict(self._live.sizes),
            "kept": dict(self._live.masks.counts),
            "refused": dict(self.refused),
            "density": self.density,
            "rewirings": self._live.rewirings,
            "macs": cost.macs_inference,
            "macs_dense": dense.macs_inference,
            "parameters": cost.parameters,
            "parameters_dense": dense.parameters,
            "compute": "dense: masks make a model small at rest, not cheaper to run",
        }

    def step(
        self,
        loss: float | Tensor | None = None,
        labels: Values | None = None,
        scores: Values | None = None,
        event_time: int | None = None,
        rows: int | None = None,
    ) -> tuple[Event, ...]:
        """Call it after ``optimizer.step()``; may rewire the model.

        A training step is a call with at least one optimizer step before it (where gradients are
        accumulated, most calls are none). Arguments are those of ``SparsityController.step``: they
        decide nothing here, and labels or scores tell how many examples there were.

        Returns:
            What happened; empty most of the time.

        Raises:
            DivergedError: gradients were not finite ``max_dropped_steps`` times in a row.
            RunError: weights are not finite, or the optimizer's state cannot follow.
        """
        del loss
        events: list[Event] = []
        if self._rows == 0:
            events.append(self._event("mask", "start", event_time, self._live.sizes))
        for _ in range(self._finite.take()):
            kept = self._live.masks.counts
            events.append(self._event("dropped", "gradients", event_time, kept))
        if rows is None:
            given = labels if labels is not None else scores
            rows = self._batch_rows if given is None else len(given)
        self._rows += rows
        if not self._live.trained:
            return tuple(events)
        self._live.trained = False
        self._policy_state, decision = self._policy.step(self._policy_state)
        self._live.scoring = self._policy.wants_gradient(self._policy_state)
        if isinstance(decision, Rewire):
            started, before = time.perf_counter(), dict(self._live.masks.counts)
            moved = self._live.rewire(decision)
            spent = time.perf_counter() - started
            events.append(self._event("rewire", decision.trigger, event_time, before, moved, spent))
        return tuple(events)

    def _event(
        self,
        kind: str,
        trigger: str,
        event_time: int | None,
        before: Mapping[str, int],
        moved: Mapping[str, int] | None = None,
        seconds: float = 0.0,
    ) -> Event:
        macs = self.dense_cost.macs_inference
        return Event(
            kind=kind,
            rows=self._rows,
            event_time=None if event_time is None else int(event_time),
            trigger=trigger,
            severity=None,
            value=None,
            density_before=sum(before.values()) / sum(self._live.sizes.values()),
            density_after=self.density,
            macs_before=macs,
            macs_after=macs,
            plan_before={"weights": dict(before)},
            plan={"weights": dict(self._live.masks.counts), "moved": dict(moved or {})},
            rate=self.rate,
            seconds=seconds,
        )

    def state_dict(self) -> State:
        return {
            "policy": type(self._policy).__name__,
            "rows": self._rows,
            **nested("policy", self._policy_state._asdict()),
            **nested("live", self._live.state_dict()),
            **nested("finite", self._finite.state_dict()),
        }

    def load_state_dict(self, state: State) -> None:
        """Take up where ``state`` was saved; before or after the model's and optimizer's states.

        Raises:
            ConfigError: the state belongs to another model or policy.
        """
        policy = type(self._policy).__name__
        if state["policy"] != policy:
            raise ConfigError(f"saved controller: its policy is {state['policy']!r}, not {policy}")
        self._live.load_state_dict(part_of(state, "live"))
        self._finite.load_state_dict(part_of(state, "finite"))
        self._policy_state = type(self._policy_state)(**part_of(state, "policy"))
        self._live.scoring = self._policy.wants_gradient(self._policy_state)
        numbers: dict[str, Any] = dict(state)
        self._rows = int(numbers["rows"])
