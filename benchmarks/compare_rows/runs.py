"""One run over a stream: each batch is scored, then learned; made once and kept."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from compare_rows.contenders import DIM, FULL, WHOLE, Contender
from compare_rows.streams import ROWS, WINDOW, Stream
from stream_prune.evaluation.auc import auc
from stream_prune.evaluation.entropy import losses, normalized_entropy
from stream_prune.training.build import build
from stream_prune.training.config import ModelConfig, OptimizerConfig, TrainingConfig

LR, ROWS_LR = 0.001, 0.05
"""Rates of the dense part (Adam) and of the rows (row-wise Adagrad), times a run's own factor."""

SPLIT = 40_000 // ROWS
"""Batches after which a split of the total is looked at again."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to, after the warm-up.

    Attributes:
        ne, auc: prequential.
        rows: the greatest number of rows in use in a window's end, cold ones included.
        evictions: rows that changed hands.
        half_lives: in force at the end, by column, where they are learned.
        capacities: rows of the columns that were cut, at the end.
        seconds: of the whole run.
    """

    ne: float
    auc: float
    rows: int
    evictions: int
    half_lives: dict[str, float]
    capacities: dict[str, int]
    seconds: float


def made(
    stream: Stream, contender: Contender, share: float, factor: float, seed: int, folder: Path
) -> Outcome:
    """The run's outcome, from its file if it was made before."""
    own = "1" if contender.name == FULL else f"{share}"
    name = f"{stream.log.name}-{contender.name}-{own}-{factor}-{seed}.json".replace(" ", "_")
    asked = {
        "contender": repr(contender),
        "log": asdict(stream.log),
        "share": own,
        "factor": factor,
        "seed": seed,
    }
    path = folder / name
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["asked"] == asked:
            return Outcome(**kept["outcome"])
    outcome = run(stream, contender, share, factor, seed)
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"asked": asked, "outcome": asdict(outcome)}, indent=1))
    draft.rename(path)
    return outcome


def run(stream: Stream, contender: Contender, share: float, factor: float, seed: int) -> Outcome:
    """Over the whole stream."""
    began = time.perf_counter()
    torch.manual_seed(seed)
    config = TrainingConfig(
        run=Path("none"),
        log=Path("none"),
        seed=seed,
        device="cpu",
        model=ModelConfig(dim=DIM, bottom=(32,), top=(64, 32)),
        optimizer=OptimizerConfig(lr=factor * LR, rows_lr=factor * ROWS_LR),
    )
    learner = build(config, stream.spec)
    columns = [column.name for column in stream.spec.categorical]
    tables = contender.tables(columns, stream.distinct, share, factor * ROWS_LR, seed)
    learner.tables = tables
    projections = list(tables.parameters())
    if projections:
        learner.optimizer.add_param_group({"params": projections})
    scores, labels, most, evictions = [], [], 0, 0
    for place, given in enumerate(stream.batches):
        if place == stream.warm_up:
            tables.churn()
            if contender.starts_full and contender.name != FULL:
                contender.cut(tables, columns, stream.distinct, share)
                tables.churn()
        elif contender.split and place > stream.warm_up and place % SPLIT == 0:
            contender.cut(tables, columns, stream.distinct, share)
        batch = contender.batch(given, stream.distinct, share)
        scores.append(learner.score(batch))
        labels.append(batch.label)
        learner.learn(batch)
        if place % WINDOW == WINDOW - 1:
            tables.adapt()
            if place > stream.warm_up:
                used = sum(t.rows_used + t.cold_rows for t in tables.tables.values())
                most = max(most, used)
    evictions = sum(gone for _, gone in tables.churn().values())
    score = np.concatenate(scores[stream.warm_up :])
    label = np.concatenate(labels[stream.warm_up :])
    ne = normalized_entropy(float(losses(label, score).mean()), int(label.sum()), label.size)
    area = auc(label, score)
    assert ne is not None
    assert area is not None
    learns = {n: t.half_life for n, t in tables.tables.items() if contender.table.half_lives}
    sizes = zip(tables.tables.values(), stream.distinct, strict=True)
    cut = {table.name: table.capacity for table, ids in sizes if ids > WHOLE}
    return Outcome(ne, area, most, evictions, learns, cut, time.perf_counter() - began)
