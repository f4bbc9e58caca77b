"""What runs say about scaling: a size and a loss of each, or of stretches of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_prune.comparison.series import Series
from stream_prune.errors import ConfigError, RunError
from stream_prune.evaluation.entropy import normalized_entropy
from stream_prune.training.run_folder import CONFIG, JOURNAL, SUMMARY

Floats = npt.NDArray[np.float64]

STRETCHES = 12
"""Of a run's stream, each so many times as long as the one before, along the axis of data."""


@dataclass(frozen=True)
class Points:
    """Sizes and losses of runs of one kind: ``x`` and ``loss`` [n]."""

    name: str
    x: Floats
    loss: Floats


def _rows(config: Mapping[str, Any], summary: Mapping[str, Any]) -> float:  # noqa: ARG001
    return float(sum(summary["rows_capacity"].values()))


AXES: Mapping[str, tuple[str, Callable[[Mapping[str, Any], Mapping[str, Any]], float] | None]] = {
    "data": ("labelled events seen", None),
    "width": ("parameters of the dense part", lambda _, summary: float(summary["parameters"])),
    "rows": ("embedding rows", _rows),
    "dim": ("embedding dimension", lambda config, _: float(config["model"]["dim"])),
    "macs": (
        "MACs of the head per scored example, mean after the warm-up",
        lambda _, summary: float(summary["mean_macs_inference_after_warmup"]),
    ),
    "compute": (
        "MACs of the whole training",
        lambda _, s: float(s["mean_macs_training_with_lookups"] * s["rows_learned"]),
    ),
}
"""By name what is scaled, in words, and its size in a run (of its configuration and summary)."""


def points(folders: Sequence[Path], axis: str) -> list[Points]:
    """The points of all runs along an axis, by policy.

    The loss is the NE after the warm-up; along the axis of data that of stretches of the stream,
    at the events seen before their middle.

    Raises:
        ConfigError: no such axis, or a folder holds no run.
        RunError: a run is not finished.
    """
    if axis not in AXES:
        raise ConfigError(f"--along {axis}: must be one of {', '.join(AXES)}")
    size = AXES[axis][1]
    found: dict[str, list[tuple[float, float]]] = {}
    for folder in folders:
        if not (folder / JOURNAL).is_file():
            raise ConfigError(f"{folder}: is no run folder: there is no {JOURNAL} in it")
        config, summary = _read(folder / CONFIG), _read(folder / SUMMARY)
        if not summary:
            raise RunError(f"{folder}: the run is not finished: there is no {SUMMARY} in it")
        mine = found.setdefault(_policy(config), [])
        if size is None:
            mine += _along_data(Series.read(folder / JOURNAL))
        elif summary["ne_after_warmup"] is not None:
            mine.append((size(config, summary), summary["ne_after_warmup"]))
    return [
        Points(name, *(np.array(each, np.float64) for each in zip(*pairs, strict=True)))
        for name, pairs in found.items()
        if pairs
    ]


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a file, an empty one where there is none."""
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _policy(config: Mapping[str, Any]) -> str:
    for part in ("sparsity", "elements"):
        if config.get(part):
            return str(config[part]["policy"])
    return "dense"


def _along_data(series: Series) -> list[tuple[float, float]]:
    seen = np.cumsum(series.labelled)
    if not len(seen):
        return []
    ends = seen[-1] * 2.0 ** -np.arange(STRETCHES)[::-1]
    found = []
    start = 0
    for end in ends:
        stop = int(np.searchsorted(seen, end, side="right"))
        rows, positives = (
            int(each[start:stop].sum()) for each in (series.labelled, series.positives)
        )
        if rows:
            ne = normalized_entropy(float(series.loss[start:stop].sum()) / rows, positives, rows)
            if ne is not None:
                found.append((float(seen[stop - 1] - rows / 2), ne))
        start = stop
    return found
