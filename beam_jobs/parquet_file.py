"""A Parquet file as a partition: rows are counted from 0 over its row groups."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stream_prune.errors import RunError


class ParquetFile:
    """Reads rows by number; the row groups read last are kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size == 0:
            raise RunError(f"{path}: is empty (0 bytes): a Parquet file was expected")
        try:
            self._metadata = pq.read_metadata(path)
            self.schema: pa.Schema = self._metadata.schema.to_arrow_schema()
        except pa.ArrowException as error:
            raise RunError(
                f"{path}: cannot be read as Parquet (cut short, or another format?): {error}"
            ) from None
        groups = [self._metadata.row_group(i) for i in range(self._metadata.num_row_groups)]
        self._bounds = np.cumsum([0, *(group.num_rows for group in groups)])
        self.rows: int | None = int(self._bounds[-1])

    def read(self, offset: int, rows: int) -> tuple[pa.RecordBatch, int, bool] | None:
        """Up to ``rows`` rows from ``offset``, how many they are, and whether the file ends there.

        None if the file ends before ``offset``.
        """
        end = int(self._bounds[-1])
        if offset > end:
            return None
        stop = min(offset + rows, end)
        parts = [self.schema.empty_table()]
        while offset < stop:
            group = int(np.searchsorted(self._bounds, offset, side="right")) - 1
            upto = min(stop, int(self._bounds[group + 1]))
            table = _read_group(self, group)
            parts.append(table.slice(offset - int(self._bounds[group]), upto - offset))
            offset = upto
        found = pa.concat_tables(parts)
        batches = found.combine_chunks().to_batches()
        batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=self.schema)
        return batch, found.num_rows, stop == end

    def group(self, index: int) -> pa.Table:
        """A row group, whole."""
        with pq.ParquetFile(self.path, metadata=self._metadata) as file:
            return file.read_row_group(index, use_threads=False)


@lru_cache(maxsize=4)  # few: a row group may be large, and files are read in turns
def _read_group(file: ParquetFile, index: int) -> pa.Table:
    return file.group(index)


def forget_row_groups() -> None:
    """Free the row groups that are kept."""
    _read_group.cache_clear()
