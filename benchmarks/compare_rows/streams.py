"""The three logs as mini-batches in memory, in event order, and how many ids each column has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stream_prune.datasets import load
from stream_prune.encoding import encode
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch, schema

ROWS, WINDOW = 256, 4
"""Rows of a batch, and batches of a window, after which rows change hands."""

WARM_UP = 0.2
"""Share of the stream that figures leave out, and after which tables are cut."""


@dataclass(frozen=True)
class Log:
    """A log: its name among the data sets, its events, and how long ids of a generated one live."""

    name: str
    events: int
    lifetime: int | None = None


LOGS = (Log("flights", 336_776), Log("ml-100k", 100_000), Log("synthetic", 150_000, 10_000))


@dataclass(frozen=True)
class Stream:
    """A log's labelled events as batches, and the distinct ids [F] of its columns."""

    log: Log
    spec: FeatureSpec
    batches: tuple[MiniBatch, ...]
    distinct: tuple[int, ...]

    @property
    def warm_up(self) -> int:
        """Batches of the warm-up: whole windows."""
        return int(WARM_UP * len(self.batches)) // WINDOW * WINDOW

    def column(self, field: int) -> np.ndarray:
        """The ids of a categorical column, in their order."""
        return _column(self.batches, field, len(self.distinct))


def read(log: Log, folder: Path) -> Stream:
    """Prepare the log's file in ``folder``, unless it is there, and read it."""
    dataset: Any = load(log.name)
    settings = ()
    if log.lifetime is not None:
        settings = (dataset.Settings(events=log.events, lifetime=log.lifetime),)
    files = dataset.prepare(folder, log.events, *settings)
    spec: FeatureSpec = dataset.SPEC
    raw = pa.concat_tables(pq.read_table(file) for file in files).combine_chunks()
    parts = [encode(spec, part).batch for part in raw.to_batches()]
    encoded = pa.Table.from_batches(parts).combine_chunks()
    none = pa.array(np.zeros(len(encoded)), pa.int64())
    rows = pa.table(
        {
            name: encoded[name] if name in encoded.schema.names else none
            for name in schema(spec).names
        }
    )
    rows = rows.filter(rows["__label"].is_valid()).combine_chunks()
    batches = tuple(
        MiniBatch.from_arrow(spec, BatchName(0, 0, i), rows.slice(i * ROWS, ROWS).to_batches()[0])
        for i in range(len(rows) // ROWS)
    )
    return Stream(log, spec, batches, _distinct(batches, len(spec.categorical)))


def _distinct(batches: tuple[MiniBatch, ...], fields: int) -> tuple[int, ...]:
    return tuple(len(np.unique(_column(batches, field, fields))) for field in range(fields))


def _column(batches: tuple[MiniBatch, ...], field: int, fields: int) -> np.ndarray:
    ids = []
    for batch in batches:
        offsets = batch.offsets if batch.offsets is not None else np.arange(fields * batch.rows + 1)
        start, stop = offsets[field * batch.rows], offsets[(field + 1) * batch.rows]
        ids.append(batch.ids[start:stop])
    return np.concatenate(ids)
