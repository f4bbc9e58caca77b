"""What streams with a known truth share: blocks of events, the drifts' times, the Bayes NE.

The probability with which each label was drawn lies in the event files as a column of its own; no
feature specification names it, so no model sees it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_prune.datasets.event_file import (
    ROW_GROUP_ROWS,
    is_made_from,
    replacing,
    write_events,
)
from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

BAYES = "bayes_probability"
"""Column of the event files: P(label = 1 | all that can be known at the event)."""

BLOCK = 1 << 14
"""Events that are drawn together, from a random generator of their own."""

START_MS = 1_704_067_200_000
"""Event time of the first event: 2024-01-01 00:00 UTC."""


Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Drift:
    """A change of the stream.

    Attributes:
        kind: ``abrupt``, ``gradual`` (events of both concepts mixed, more and more of the new
            one), ``recurring`` (abrupt, to a concept that was there before), or ``covariate``
            (other inputs, the same P(label | inputs)).
        start: number of the first event that may differ.
        end: number of the first event that is altogether of the new kind; ``start`` if abrupt.
        concept: number of the concept, the P(label | inputs), from ``end`` on.
    """

    kind: Literal["abrupt", "gradual", "recurring", "covariate"]
    start: int
    end: int
    concept: int


def bayes_ne(probability: npt.ArrayLike) -> float:
    """The least normalized entropy that any model can expect on events with these probabilities.

    Args:
        probability: [B], the column :data:`BAYES`; the base rate is its mean.

    >>> round(bayes_ne([0.1, 0.1, 0.9, 0.9]), 3)
    0.469
    """
    p = np.asarray(probability, np.float64)
    return float(_entropy(p).mean() / _entropy(p.mean(keepdims=True))[0])


def _entropy(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    tiny = 1e-300  # 0 log 0 is 0
    return np.asarray(-p * np.log(np.maximum(p, tiny)) - (1 - p) * np.log(np.maximum(1 - p, tiny)))


def logistic(log_odds: Floats) -> Floats:
    """Probabilities [B]."""
    return np.asarray(1 / (1 + np.exp(-log_odds)), np.float32)


def root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses 0 between ``low`` and ``high``, by bisection."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def generator(seed: int, *place: int) -> np.random.Generator:
    """The random generator of one place of a stream (a block, a concept): same seed, same draws."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=place)))


def chunks(block: Callable[[int], pa.Table], rows: int, chunk_rows: int) -> Iterator[pa.Table]:
    """The first ``rows`` events in tables of ``chunk_rows``, the same whatever that is.

    Args:
        block: the :data:`BLOCK` events of a block by its number; always drawn whole.
        rows: events in all.
        chunk_rows: events a table; no more than this and a block are held.
    """
    if chunk_rows < 1:
        raise ConfigError(f"chunk_rows = {chunk_rows}: must be 1 or more")
    waiting: list[pa.Table] = []
    for first in range(0, rows, BLOCK):
        waiting.append(block(first // BLOCK).slice(0, rows - first))
        table = pa.concat_tables(waiting)
        ready = table.num_rows - table.num_rows % chunk_rows
        for start in range(0, ready, chunk_rows):
            yield table.slice(start, chunk_rows).combine_chunks()
        waiting = [table.slice(ready)]
    if waiting and waiting[0].num_rows:
        yield waiting[0].combine_chunks()


def write_stream(
    path: Path,
    settings: DataclassInstance,
    block: Callable[[int], pa.Table],
    rows: int,
    drifts: Sequence[Drift],
    interval_ms: int,
    layout: int,
) -> None:
    """Write the events [B] to ``path`` and their drifts beside it, unless both are there already.

    Args:
        path: the event file; see :func:`drifts_path` for the other.
        settings: all that decides the stream.
        block: see :func:`chunks`.
        rows: events in all.
        drifts: those that begin within ``rows``.
        interval_ms: event time from one event to the next.
        layout: raised by the caller whenever equal settings would give another stream.
    """
    made_from = json.dumps([layout, rows, dataclasses.asdict(settings)])
    truth = json.dumps(
        {
            "settings": dataclasses.asdict(settings),
            "rows": rows,
            "drifts": [_timed(drift, interval_ms) for drift in drifts],
        },
        indent=1,
    )
    beside = drifts_path(path)
    if not beside.exists() or beside.read_text(encoding="utf-8") != truth:
        with replacing(beside) as temporary:
            temporary.write_text(truth, encoding="utf-8")
    if not is_made_from(path, made_from):
        # Nearly every id column is too long for a dictionary: it would only cost time.
        write_events(path, made_from, chunks(block, rows, ROW_GROUP_ROWS), dictionaries=False)


def drifts_path(path: Path) -> Path:
    """The JSON file beside an event file: ``settings``, ``rows``, and per drift its kind,
    ``start`` and ``end`` (event numbers), ``start_time`` and ``end_time`` (ms since 1970, UTC) and
    ``concept``."""
    return path.with_name(f"{path.stem}.drifts.json")


def _timed(drift: Drift, interval_ms: int) -> dict[str, Any]:
    times = {f"{at}_time": START_MS + getattr(drift, at) * interval_ms for at in ("start", "end")}
    return dataclasses.asdict(drift) | times
