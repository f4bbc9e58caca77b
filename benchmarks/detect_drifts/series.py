"""What detectors are fed with: slices of the loss, of residuals, of label-free statistics."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detect_drifts.traces import BATCH, Trace, batches, dense_blocks
from stream_prune.drift import DensePopulation, IdChurn, ResidualMonitor, ScorePopulation
from stream_prune.evaluation.entropy import CLIP

STATISTICS = {"dense": DensePopulation, "ids": IdChurn, "scores": ScorePopulation}
SLICE = 512
"""Rows of a slice of the label-free statistics."""
RESIDUAL_SLICE = 128
"""Rows of a slice of the residuals; a block of events is a whole number of them."""

Values = npt.NDArray[np.float64]


def losses(trace: Trace, slice_rows: int) -> Values:
    """Mean loss [slices]."""
    slices = len(trace.loss) // slice_rows
    whole = trace.loss[: slices * slice_rows].reshape(slices, slice_rows)
    return whole.mean(1, dtype=np.float64)


def excess(trace: Trace, slice_rows: int) -> Values:
    """Mean loss over what the scores themselves expect [slices]: 0 while the model is calibrated.

    The hardness of the events, which the entropy of their scores tells, is taken out of the loss.
    """
    p = np.clip(trace.scores.astype(np.float64), CLIP, 1 - CLIP)
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    return losses(replace(trace, loss=trace.loss - entropy), slice_rows)


def truth(trace: Trace, folder: Path) -> tuple[npt.NDArray[np.float32], Values]:
    """P(label = 1) of every event, and the residual vectors [slices, 2 + N]; kept in the folder."""
    log = trace.log
    path = folder / f"{log.name}.truth.npz"
    made_from = json.dumps([asdict(log.settings), log.rows, RESIDUAL_SLICE])
    if path.exists():
        with np.load(path) as kept:
            if str(kept["made_from"]) == made_from:
                return kept["bayes"], kept["vectors"]
    monitor, bayes, vectors = ResidualMonitor(slice_rows=RESIDUAL_SLICE), [], []
    labels, start = trace.labels, 0
    for dense, probability in dense_blocks(log):
        stop = start + len(dense)
        rows = np.column_stack([labels[start:stop], trace.scores[start:stop], dense])
        vectors += [
            monitor.vector(rows[first : first + RESIDUAL_SLICE].astype(np.float64))
            for first in range(0, len(rows) - RESIDUAL_SLICE + 1, RESIDUAL_SLICE)
        ]
        bayes.append(probability)
        start = stop
    found = np.concatenate(bayes).astype(np.float32), np.array(vectors)
    np.savez(path, made_from=np.array(made_from), bayes=found[0], vectors=found[1])
    return found


def inputs(trace: Trace, folder: Path) -> dict[str, Values]:
    """By statistic its value [slices] of :data:`SLICE` rows; kept in the folder."""
    log = trace.log
    path = folder / f"{log.name}.inputs.npz"
    made_from = json.dumps([asdict(log.settings), log.rows, SLICE])
    if path.exists():
        with np.load(path) as kept:
            if str(kept["made_from"]) == made_from:
                return {name: kept[name] for name in STATISTICS}
    statistics = {name: make() for name, make in STATISTICS.items()}
    found: dict[str, list[float]] = {name: [] for name in STATISTICS}
    waiting = []
    for number, batch in enumerate(batches(log)):
        start = number * BATCH
        rows = trace.scores[start : start + batch.rows]
        waiting.append((batch.dense, batch.ids.reshape(-1, batch.rows), rows))
        if len(waiting) * BATCH == SLICE:
            dense, ids, scores = zip(*waiting, strict=True)
            given = np.concatenate(dense), np.concatenate(ids, axis=1), np.concatenate(scores)
            for name, statistic in statistics.items():
                found[name].append(statistic.of_rows(*given))
            waiting = []
    values = {name: np.array(each) for name, each in found.items()}
    np.savez(path, made_from=np.array(made_from), **values)
    return values
