"""A record of every message that was sent, to reconcile with what a job made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.produce.plan import KINDS

SCHEMA = pa.schema(
    [
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("row", pa.int64()),
        ("kind", pa.string()),
        ("displaced", pa.bool_()),
    ]
)
"""``row``: the event's number in the log; ``kind``: what a job must make of the message."""


class Ledger:
    """A Parquet file of :data:`SCHEMA`, in the order of sending; nothing without a path.

    ``before``: the offset of the next message of each partition.
    """

    def __init__(self, path: Path | None, before: Sequence[int]) -> None:
        self._next = np.array(before, np.int64)
        self._writer: pq.ParquetWriter | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, SCHEMA)

    def add(
        self,
        partition: npt.NDArray[np.int64],
        row: npt.NDArray[np.int64],
        kind: npt.NDArray[np.int64],
        displaced: npt.NDArray[np.bool_],
    ) -> None:
        """Messages [M] in the order in which they were handed over."""
        if self._writer is None:
            return
        offset = np.empty(len(partition), np.int64)
        for p in np.unique(partition):
            here = np.flatnonzero(partition == p)
            offset[here] = self._next[p] + np.arange(len(here))
            self._next[p] += len(here)
        names = pa.array(KINDS).take(pa.array(kind))
        columns = [pa.array(partition, pa.int32()), pa.array(offset), pa.array(row), names]
        self._writer.write_batch(
            pa.RecordBatch.from_arrays([*columns, pa.array(displaced)], schema=SCHEMA)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
