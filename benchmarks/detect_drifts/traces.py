"""What a small model thought of every event of a stream, before it learned it: made once, kept.

Detectors and their settings are then tried on the traces, thousands of times quicker.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from detect_drifts.logs import Log
from stream_prune.datasets.known_truth import BAYES, BLOCK
from stream_prune.evaluation.entropy import CLIP, losses
from stream_prune.minibatch.batch import BatchName, MiniBatch
from stream_prune.training.build import build
from stream_prune.training.config import (
    ModelConfig,
    OptimizerConfig,
    TablesConfig,
    TrainingConfig,
)

BATCH = 256
DELAY_ROWS = 768
"""A label is known so many events later; detectors see losses in the order of labels."""
WINDOW_BATCHES = 8

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trace:
    """A model over a stream: ``loss`` and ``scores`` [rows], in the order of the events."""

    log: Log
    loss: Floats
    scores: Floats

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """[rows]: the loss says which of the two it was."""
        p = np.clip(self.scores.astype(np.float64), CLIP, 1 - CLIP)
        return np.asarray(np.abs(self.loss + np.log(p)) < np.abs(self.loss + np.log(1 - p)))


def trace(log: Log, folder: Path) -> Trace:
    """The trace of a log, from the folder if it was made before with the same settings."""
    path, made_from = folder / f"{log.name}.npz", json.dumps([asdict(log.settings), log.rows])
    if path.exists():
        with np.load(path) as kept:
            if str(kept["made_from"]) == made_from:
                return Trace(log, kept["loss"], kept["scores"])
    folder.mkdir(parents=True, exist_ok=True)
    loss, scores = _play(log)
    np.savez(path, loss=loss, scores=scores, made_from=np.array(made_from))
    return Trace(log, loss, scores)


def _play(log: Log) -> tuple[Floats, Floats]:
    torch.set_num_threads(1)
    learner = build(_config(), log.spec)
    waiting: deque[MiniBatch] = deque()
    loss, scores = np.empty(log.rows, np.float32), np.empty(log.rows, np.float32)
    for number, batch in enumerate(batches(log)):
        rows = slice(number * BATCH, number * BATCH + batch.rows)
        scores[rows] = learner.score(batch)
        loss[rows] = losses(batch.label, scores[rows])
        waiting.append(batch)
        if len(waiting) * BATCH > DELAY_ROWS:
            learner.learn(waiting.popleft())
            if number % WINDOW_BATCHES == 0:
                learner.end_window()
    return loss, scores


def dense_blocks(log: Log) -> Iterator[tuple[Floats, Floats]]:
    """Dense inputs [n, N] as models see them, and P(label = 1) [n], of block after block."""
    for number in range(-(-log.rows // BLOCK)):
        table = log.dataset.block(log.settings, number).slice(0, log.rows - number * BLOCK)
        yield _dense(log, table), table[BAYES].to_numpy()


def _dense(log: Log, table: pa.Table) -> Floats:
    columns = []
    for column in log.spec.dense:
        values = table[column.name].to_numpy()
        columns.append(np.log1p(values) if column.transform == "log1p" else values)
    return np.stack(columns, 1).astype(np.float32)


def batches(log: Log) -> Iterator[MiniBatch]:
    """The events as mini-batches of :data:`BATCH` rows, encoded as a streaming job would."""
    for number in range(-(-log.rows // BLOCK)):
        table = log.dataset.block(log.settings, number).slice(0, log.rows - number * BLOCK)
        dense = _dense(log, table)
        ids = np.stack([table[column.name].to_numpy() for column in log.spec.categorical])
        label = table[log.spec.label].to_numpy().astype(np.float32)
        for start in range(0, len(label), BATCH):
            part = slice(start, start + BATCH)
            time = np.zeros(len(label[part]), np.int64)
            yield MiniBatch(
                BatchName(1, 0, 0), time, dense[part], ids[:, part].ravel(), None, label[part]
            )


def _config() -> TrainingConfig:
    return TrainingConfig(
        run=Path("none"),
        log=Path("none"),
        seed=1,
        device="cpu",
        model=ModelConfig(dim=8, bottom=(32,), top=(64, 32)),
        optimizer=OptimizerConfig(name="adagrad", lr=0.01, rows_lr=0.05),
        tables=TablesConfig(default_capacity=5_000),
    )
