"""This project's DLRM on the clicks, built and trained as a run does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from compare_throughput.clicks import BATCH, DENSE, DIM, TEST_ROWS, Clicks, logloss
from stream_prune.features import Categorical, Dense, FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch
from stream_prune.training.build import build
from stream_prune.training.config import ModelConfig, OptimizerConfig, TablesConfig, TrainingConfig
from stream_prune.training.learner import Learner

RATE, ROWS_RATE = 0.001, 0.05
NARROW_RATE = 3 * RATE
"""A narrow model wants a higher one."""


class Own:
    """A learner and the mini-batches it is given.

    Args:
        clicks: what is learned.
        batches: its mini-batches, of :func:`minibatches`.
        bottom, top: widths.
        rate: learning rate of the dense part.
        precision: of the products.
        device: cpu or cuda.
    """

    def __init__(
        self,
        clicks: Clicks,
        batches: Sequence[MiniBatch],
        bottom: Sequence[int],
        top: Sequence[int],
        rate: float = RATE,
        precision: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.clicks, self.batches, self.next = clicks, batches, 0
        fields = tuple(Categorical(f"c{i}", type="integer") for i in range(len(clicks.sizes)))
        spec = FeatureSpec(
            dense=tuple(Dense(f"d{i}") for i in range(DENSE)),
            categorical=fields,
            label="label",
            event_time="time",
        )
        capacity = {c.name: n for c, n in zip(fields, clicks.sizes, strict=True)}
        config = TrainingConfig(
            run=Path("none"),
            log=Path("none"),
            device=device,
            precision=precision,
            model=ModelConfig(dim=DIM, bottom=tuple(bottom), top=tuple(top)),
            optimizer=OptimizerConfig(name="adam", lr=rate, rows_lr=ROWS_RATE),
            # The peers have a row for every id from the start; here it has one at first sight.
            tables=TablesConfig(capacity=capacity, admission=1),
        )
        self.learner: Learner = build(config, spec)

    def learn(self, batches: int) -> None:
        """The next mini-batches."""
        for _ in range(batches):
            self.learner.learn(self.batches[self.next])
            self.next += 1

    def test(self) -> float:
        """Logloss on the rows that nobody learns."""
        last = self.batches[-TEST_ROWS // BATCH :]
        given = [self.learner.score(batch) for batch in last]
        return logloss(self.clicks.label[-TEST_ROWS:], np.concatenate(given))


def minibatches(clicks: Clicks) -> list[MiniBatch]:
    """Those to learn and then those to be tested on, as the log's reader gives them."""
    return [
        MiniBatch(
            name=BatchName(0, 0, start // BATCH),
            event_time=np.arange(BATCH),
            dense=clicks.dense[start : start + BATCH],
            ids=np.ascontiguousarray(clicks.ids[start : start + BATCH].T).reshape(-1),
            offsets=None,
            label=clicks.label[start : start + BATCH],
        )
        for start in range(0, len(clicks.label), BATCH)
    ]
