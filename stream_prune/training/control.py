"""The control: would a small dense model of the budget's size do as well?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stream_prune.embedding.widths import Tables
from stream_prune.errors import ConfigError, DivergedError
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity.budget import Budget
from stream_prune.stateful import State, Stateful
from stream_prune.training.companion import Probabilities, SoftTargets
from stream_prune.training.control_config import ControlConfig
from stream_prune.training.learner import Learner
from stream_prune.training.model_config import ModelConfig
from stream_prune.training.torch_state import ModuleState, OptimizerState

STEPS = 512
"""Scales that are tried between nothing and full width."""


class Control:
    """A small dense model with a head, tables and optimizers of its own.

    Its tables have the deployed model's row capacities at every moment. It learns every batch that
    the deployed model learns and touches nothing of it: where it diverges, it is given up and the
    run goes on without a reference.

    Args:
        learner: the small model.
    """

    name = "a small dense model"
    method_macs = 0

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.failed = ""

    def score(self, batch: MiniBatch) -> Probabilities:
        scores = np.full(batch.rows, np.nan, np.float32)
        if not self.failed:
            scores = self.learner.score(batch)
            if not np.isfinite(scores).all():
                self._give_up(batch, "its scores are not finite")
                scores[:] = np.nan
        return scores

    def learn(self, batch: MiniBatch) -> SoftTargets | None:
        if not self.failed:
            try:
                self.learner.learn(batch)
                self.learner.check_steps()
            except DivergedError as error:
                self._give_up(batch, str(error))
        return None

    def end_window(self, deployed: Tables) -> None:
        self.learner.end_window()
        same_rows(self.learner.tables, deployed)

    def slow_down(self, multiplier: float) -> None:
        """Nothing: it is no part of the method, and has not diverged."""

    def not_finite(self) -> str:
        """Nowhere that matters: see ``failed``."""
        return ""

    def figures(self) -> Mapping[str, Any]:
        head, cost = self.learner.head, self.learner.dense_cost
        linear = [m.out_features for m in head.modules() if hasattr(m, "out_features")]
        return {
            "kind": "control",
            **cost._asdict(),
            "widths": linear,
            "dropped_steps": self.learner.dropped_steps,
            "failed": self.failed,
        }

    def parts(self) -> Mapping[str, Stateful]:
        learner = self.learner
        return {
            "control": self,
            "control_head": ModuleState(learner.head),
            "control_optimizer": OptimizerState(learner.optimizer),
            "control_tables": ModuleState(learner.tables),
            **{f"control_{name}": part for name, part in learner.guards().items()},
        }

    def state_dict(self) -> State:
        return {"failed": self.failed}

    def load_state_dict(self, state: State) -> None:
        self.failed = str(state["failed"])

    def _give_up(self, batch: MiniBatch, reason: str) -> None:
        at = int(batch.event_time[-1])
        self.failed = f"given up at event time {at}: {reason}: lower control.lr"


def same_rows(tables: Tables, others: Tables) -> None:
    """Bring tables to the capacities of others."""
    wanted = {name: table.capacity for name, table in others.tables.items()}
    moved = {n: rows for n, rows in wanted.items() if tables.tables[n].capacity != rows}
    if moved:
        tables.resize(moved)


def control_model(
    full: ModelConfig, control: ControlConfig, budget: Budget, macs: Callable[[ModelConfig], int]
) -> ModelConfig:
    """The full model with the control's widths: those given, the others solved for.

    Sizes among the model's own parameters are not solved for: those given, or the full model's.
    Every width that is not given is the full model's times one scale, in multiples of
    ``budget.round_to`` as the pruned model's are; the scale is the greatest that meets the budget.

    Args:
        full: the deployed model at full size.
        control: which widths are given.
        budget: ``macs``, the share of the full model's MACs that the control may cost.
        macs: inference MACs per example of a model.

    Raises:
        ConfigError: no scale is small enough.
    """

    def scaled(step: int) -> ModelConfig:
        def widths(given: tuple[int, ...] | None, of: tuple[int, ...]) -> tuple[int, ...]:
            return given or tuple(_rounded(width, step / STEPS, budget.round_to) for width in of)

        return replace(
            full,
            bottom=widths(control.bottom, full.bottom),
            top=widths(control.top, full.top),
            parameters=control.parameters or full.parameters,
        )

    if (control.bottom or not full.bottom) and (control.top or not full.top):
        return scaled(0)
    allowed = budget.macs * macs(full)
    low, high = 0, STEPS + 1  # scaled(low) is within the budget, scaled(high) is not
    if macs(scaled(low)) > allowed:
        raise ConfigError(
            f"control: no hidden widths in multiples of {budget.round_to} cost {budget.macs:.1%} "
            "of the full model's MACs or less: give control.bottom and control.top, or "
            "control.parameters if the model has other sizes"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if macs(scaled(middle)) <= allowed else (low, middle)
    return scaled(low)


def _rounded(width: int, scale: float, multiple: int) -> int:
    return min(width, max(multiple, round(width * scale / multiple) * multiple))
