"""The guard: what the guardrail compares at the moment, and what it has taken back so far."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np
from torch import nn

from stream_prune.errors import ConfigError
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.frozen import SideBySide, check_outputs, freeze
from stream_prune.sparsity.guardrail import Guardrail
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.paired import PairedBlocks, as_floats, block_rows, logloss
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.policies.policy import Decision, Derive, Keep, Shrink
from stream_prune.sparsity.verdict import Verdict, judge
from stream_prune.sparsity.watch import Values
from stream_prune.stateful import State

_PATIENCE = 4  # times the windows, where few examples are labelled


class Guard:
    """The comparison in progress, and what has been taken back so far.

    Args:
        settings: None: nothing is ever compared.
        model: the live model.
        layout: its groups.
        window_rows: examples per window of the policy.
        example: inputs of the model.

    Attributes:
        plan: the plan before the re-adjustment that is being compared; None: there is none.
        policy_state: the policy's state before it.
        overruled: where the latest resize is not compared because the descent has been taken back
            too often: how often.

    Raises:
        ConfigError: the model's outputs cannot be compared with labels.
    """

    def __init__(
        self,
        settings: Guardrail | None,
        model: nn.Module,
        layout: Layout,
        window_rows: int,
        example: Example,
    ) -> None:
        self._settings, self._model, self._layout = settings, model, layout
        self._window_rows = window_rows
        self._both = SideBySide(model, "logits" if settings is None else settings.outputs)
        self._blocks = PairedBlocks(block_rows(window_rows))
        self.plan: Plan | None = None
        self.policy_state: tuple[Any, ...] = ()
        self._waiting = 0
        self._settles = False
        self._spent = 0.0  # of the tolerance, in this descent
        self._reverts = 0  # in this descent
        self._passed = self._taken_back = 0
        self._last: dict[str, Any] = {}
        self.overruled: Mapping[str, float] | None = None
        if settings is not None:
            check_outputs(model, example, settings.outputs)

    def copy(self, decision: Decision) -> nn.Module | None:
        """A frozen copy from right before a resize; None where that will not be compared."""
        settings = self._settings
        if settings is None or isinstance(decision, Keep | Derive) or self.outvoted:
            return None
        return freeze(self._model)

    @property
    def outvoted(self) -> bool:
        """This descent has been taken back as often as it may be: the budget wins."""
        return self._settings is not None and self._reverts >= self._settings.retries

    def begin(
        self,
        frozen: nn.Module | None,
        plan: Plan,
        policy_state: tuple[Any, ...],
        decision: Decision,
    ) -> None:
        """The model has been resized: compare it with the copy of before."""
        self._settles = _settles(decision)
        self.overruled = {"taken_back": float(self._reverts)} if self.outvoted else None
        if frozen is None:
            if self.overruled is not None:
                self._last = {"verdict": "not compared: the budget wins", **self.overruled}
            self._forget()
            if self._settles:
                self._end_descent()
            return
        self._blocks.clear()
        self.plan, self.policy_state = plan, policy_state
        self._both.start(frozen)

    def unchanged(self, decision: Decision) -> None:
        """The decision leads to what is alive: nothing to compare, but a descent may be over."""
        if _settles(decision):
            self._end_descent()

    def observe(self, labels: Values | None) -> None:
        """Pair what the passes since the last step have scored with their labels.

        Raises:
            ConfigError: there are no labels.
            RunError: they are not those of the examples that were learned.
        """
        if self._settings is None:
            return
        if labels is None:
            raise ConfigError(
                "controller.step: the guardrail needs labels (NaN for an example without one)"
            )
        if self.plan is None:
            return
        given = as_floats(labels)
        known = ~np.isnan(given)
        if not known.any():
            self._both.drop()
            return
        live, frozen = self._both.take(len(given))
        self._blocks.add(logloss(given[known], live[known]), logloss(given[known], frozen[known]))

    def due(self, rows: int) -> bool:
        """Whether the policy's window is over after so many examples."""
        if rows < self._span:
            return False
        return self.plan is None or self._blocks.ready or rows >= _PATIENCE * self._span

    def verdict(self, alarm: bool) -> Verdict | None:
        """What a window's end says of the re-adjustment; None where none is compared."""
        if self._settings is None or self.plan is None:
            return None
        return judge(self._blocks, self._settings, self._spent, alarm=alarm)

    def close(self, verdict: Verdict | None) -> bool:
        """A window is over, and a comparison where there is a verdict; is the policy asked now?

        Where the verdict is "worse", the model has been brought back.
        """
        if verdict is None or self._settings is None:
            waits = self.waiting
            self._waiting -= waits
            return not waits
        known = {key: value for key, value in verdict.measured.items() if isfinite(value)}
        self._last = {"verdict": verdict.trigger, **known}
        self._taken_back += verdict.worse
        self._passed += verdict.trigger == "passed"
        if verdict.worse:
            self._reverts += 1
            self._waiting = self._settings.wait_windows
        elif self._settles:
            self._end_descent()
        elif verdict.trigger == "passed":
            self._spent = verdict.measured["descent"]
        self._forget()
        return not verdict.worse

    @property
    def waiting(self) -> bool:
        """The policy is not asked: a re-adjustment has been taken back not long ago."""
        return self._waiting > 0

    @property
    def policy_rows(self) -> int:
        """Examples in the window that has begun, if the policy is asked at its end; otherwise 0."""
        return 0 if self.waiting else self._span

    @property
    def _span(self) -> int:
        if self._settings is None or self.plan is None:
            return self._window_rows
        return self._window_rows * self._settings.windows

    def _end_descent(self) -> None:
        self._spent, self._reverts = 0.0, 0

    def _forget(self) -> None:
        self.plan, self.policy_state = None, ()
        self._both.stop()
        self._blocks.clear()

    def summary(self) -> dict[str, Any] | str:
        """What is compared now, what came of it so far, as JSON values."""
        if self._settings is None:
            return "none: a re-adjustment is not compared with the model before it"
        return {
            "comparing": self.plan is not None,
            "frozen_bytes": self._both.nbytes,
            "passed": self._passed,
            "taken_back": self._taken_back,
            "taken_back_in_this_descent": self._reverts,
            "waiting_windows": self._waiting,
            "last": self._last,
        }

    def state_dict(self) -> State:
        return {
            "plan": "" if self.plan is None else json.dumps(self.plan.to_dict()),
            "policy_state": json.dumps(self.policy_state),
            "waiting": self._waiting,
            "settles": int(self._settles),
            "spent": self._spent,
            "reverts": self._reverts,
            "passed": self._passed,
            "taken_back": self._taken_back,
            "last": json.dumps(self._last),
            **nested("frozen", self._both.state_dict()),
            **nested("blocks", self._blocks.state_dict()),
        }

    def load_state_dict(
        self, state: State, live: Plan, policy_state: Callable[..., tuple[Any, ...]]
    ) -> None:
        """Take up where ``state`` was saved.

        Args:
            live: the plan that the model is under.
            policy_state: makes the policy's state of its numbers.

        Raises:
            ConfigError: a comparison was going on, and there is no guardrail now.
        """
        values: dict[str, Any] = dict(state)
        if values["plan"] and self._settings is None:
            raise ConfigError(
                "saved controller: its guardrail is comparing a re-adjustment, and this one has "
                "none: resume with the guardrail"
            )
        self.plan = Plan.from_dict(json.loads(values["plan"])) if values["plan"] else None
        saved = json.loads(values["policy_state"])
        self.policy_state = policy_state(*saved) if self.plan is not None else ()
        self._waiting, self._settles = int(values["waiting"]), bool(values["settles"])
        self._spent, self._reverts = float(values["spent"]), int(values["reverts"])
        self._passed, self._taken_back = int(values["passed"]), int(values["taken_back"])
        self._last = json.loads(values["last"])
        before = live if self.plan is None else self.plan
        self._both.load_state_dict(part_of(state, "frozen"), self._layout, live, before)
        self._blocks.load_state_dict(part_of(state, "blocks"))


def _settles(decision: Decision) -> bool:
    """Whether no further step of the same descent follows."""
    return decision.settles if isinstance(decision, Shrink) else True
