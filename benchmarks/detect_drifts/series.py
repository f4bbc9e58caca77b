"""What detectors are fed with: means of slices of the loss, and label-free statistics of slices."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detect_drifts.traces import BATCH, Trace, batches
from stream_prune.drift import DensePopulation, IdChurn, ScorePopulation

STATISTICS = {"dense": DensePopulation, "ids": IdChurn, "scores": ScorePopulation}
SLICE = 512
"""Rows of a slice of the label-free statistics."""

Values = npt.NDArray[np.float64]


def losses(trace: Trace, slice_rows: int) -> Values:
    """Mean loss [slices]."""
    slices = len(trace.loss) // slice_rows
    whole = trace.loss[: slices * slice_rows].reshape(slices, slice_rows)
    return whole.mean(1, dtype=np.float64)


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
