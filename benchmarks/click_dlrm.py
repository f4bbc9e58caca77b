"""The model and the batches on which speed is measured: a DLRM of usual size on a click log.

DLRM (bottom 512-256-64-16, top 512-256-1, dim 16), 13 dense and 26 categorical features with a
million embedding rows in all, Zipf-like ids, Adagrad, batches of 2048 rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.drift import Cusum, DriftMonitor
from stream_prune.features import Categorical, Dense, FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch
from stream_prune.sparsity import Budget, SparsityController
from stream_prune.sparsity.policies.policy import Decision, Keep, Observation
from stream_prune.training.build import build
from stream_prune.training.config import (
    ModelConfig,
    OptimizerConfig,
    TablesConfig,
    TrainingConfig,
)
from stream_prune.training.learner import Learner

SEED, ROWS, DENSE, DIM = 7, 2048, 13, 16
_SIZES = np.geomspace(1, 10_000, 26)
CAPACITIES: list[int] = np.maximum(4, 1_000_000 * _SIZES / _SIZES.sum()).astype(int).tolist()
SPEC = FeatureSpec(
    dense=tuple(Dense(f"dense{i}") for i in range(DENSE)),
    categorical=tuple(Categorical(f"table{i}", type="integer") for i in range(len(CAPACITIES))),
    label="label",
    event_time="event_time",
)
CONFIG = TrainingConfig(
    run=Path("none"),
    log=Path("none"),
    seed=SEED,
    device="cpu",
    model=ModelConfig(dim=DIM, bottom=(512, 256, 64), top=(512, 256)),
    optimizer=OptimizerConfig(name="adagrad", lr=0.01, rows_lr=0.02),
    tables=TablesConfig(
        capacity={c.name: n for c, n in zip(SPEC.categorical, CAPACITIES, strict=True)}
    ),
)

Step = Callable[[MiniBatch], object]


class Windows(NamedTuple):
    """Windows that have ended."""

    ended: int


@dataclass(frozen=True)
class Scripted:
    """A policy that decides what it is told, window by window, and then keeps the plan.

    Attributes:
        decisions: one per window.
        scoring: units are scored after that, too.
    """

    decisions: tuple[Decision, ...] = ()
    scoring: bool = False
    rows_from_start: bool = False
    starts_sparse: bool = False

    def initial(self, budget: float) -> Windows:
        del budget
        return Windows(0)

    def wants_scores(self, state: Windows, window_rows: int) -> bool:
        del window_rows
        return self.scoring or state.ended < len(self.decisions)

    def step(self, state: Windows, observation: Observation) -> tuple[Windows, Decision]:
        del observation
        over = state.ended >= len(self.decisions)
        return Windows(state.ended + 1), Keep() if over else self.decisions[state.ended]

    def rate(self, state: Windows) -> float:
        return 1.0 if state.ended == 0 else 2.0


def batches(count: int) -> list[MiniBatch]:
    """Random rows: an id falls off with its rank as in a click log, labels are noise."""
    generator = np.random.default_rng(SEED)
    return [
        MiniBatch(
            name=BatchName(0, 0, index),
            event_time=np.arange(ROWS),
            dense=generator.normal(size=(ROWS, DENSE)).astype(np.float32),
            ids=np.concatenate([generator.zipf(1.2, ROWS) % size for size in CAPACITIES]),
            offsets=None,
            label=(generator.random(ROWS) < 0.25).astype(np.float32),
        )
        for index in range(count)
    ]


def given_scores() -> npt.NDArray[np.float32]:
    """Probabilities as a model might have given them to a batch."""
    return np.random.default_rng(SEED).uniform(0.1, 0.5, ROWS).astype(np.float32)


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """A few inputs of the head."""
    return torch.randn(8, DENSE), torch.randn(8, len(CAPACITIES), DIM, requires_grad=True)


def learner(
    policy: Scripted | None = None, *, window_rows: int = ROWS, rows: float | None = None
) -> Learner:
    """The full model; with a policy also a controller, a budget of 20 % and drift detection.

    Without one nothing hooks into the optimizer's step.
    """
    made = build(CONFIG, SPEC)
    made.optimizer = torch.optim.Adagrad(made.head.parameters(), lr=0.01, fused=True)
    made.guard = None
    if policy is not None:
        made.controller = SparsityController(
            made.head,
            made.optimizer,
            policy=policy,
            budget=Budget(macs=0.2, rows=rows),
            example=example(),
            drift=DriftMonitor(Cusum(h=1e6)),  # an alarm would end a window early
            tables=made.tables.tables,
            window_rows=window_rows,
        )
    return made


def seconds(step: Step, batch: MiniBatch) -> float:
    """Processor seconds of this process that a step on a batch takes."""
    started = time.process_time()
    step(batch)
    return time.process_time() - started


def take_turns(
    steps: Mapping[str, Step], stream: Sequence[MiniBatch], rounds: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Seconds [rounds, batches] of each, all of them on each batch, in alternating order.

    The whole stream is run once before, unmeasured.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(-1, rounds):
        for batch in stream:
            names.reverse()
            for name in names:
                spent = seconds(steps[name], batch)
                if turn >= 0:
                    taken[name].append(spent)
    return {name: np.reshape(spent, (rounds, len(stream))) for name, spent in taken.items()}
