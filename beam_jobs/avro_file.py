"""An Avro container file as a partition: rows are counted from 0 over its blocks."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import fastavro
import numpy as np
import pyarrow as pa

from beam_jobs.avro_columns import read_columns
from beam_jobs.avro_program import NestedError, Program, program_of
from stream_prune.errors import RunError

_SYNC = 16


class AvroFile:
    """Reads rows by number; the blocks read last are kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            try:
                head = fastavro.reader(file)
                start = file.tell()
            except Exception as error:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
                raise RunError(
                    f"{path}: cannot be read as Avro (empty, cut short, another format?): {error}"
                ) from None
            self._schema = head.writer_schema
            file.seek(0)
            self._head = file.read(start)
            self._blocks = list(_blocks(file, path))
        self._bounds = np.cumsum([0, *(count for count, _, _ in self._blocks)])
        self.rows: int | None = int(self._bounds[-1])
        self._program = _program(self._schema)
        # What has a nested field is read record by record, and known only then.
        self.schema = None if self._program is None else _columns(self._program, b"", 0).schema

    def read(self, offset: int, rows: int) -> tuple[pa.RecordBatch, int, bool] | None:
        """Up to ``rows`` rows from ``offset``, how many they are, and whether the file ends there.

        None if the file ends before ``offset``.
        """
        end = int(self._bounds[-1])
        if offset > end:
            return None
        stop = min(offset + rows, end)
        parts = []
        while offset < stop:
            block = int(np.searchsorted(self._bounds, offset, side="right")) - 1
            upto = min(stop, int(self._bounds[block + 1]))
            found = _read_block(self, block)
            parts.append(found.slice(offset - int(self._bounds[block]), upto - offset))
            offset = upto
        if not parts:
            schema = pa.schema([]) if self.schema is None else self.schema
            return pa.RecordBatch.from_pylist([], schema=schema), 0, stop == end
        return pa.concat_batches(_alike(parts)), sum(map(len, parts)), stop == end

    def block(self, index: int) -> pa.RecordBatch:
        """The rows of a block.

        Raises:
            RunError: it is damaged.
        """
        count, start, size = self._blocks[index]
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
        try:
            (block,) = fastavro.block_reader(io.BytesIO(self._head + data))
            if self._program is not None:
                return _columns(self._program, block.bytes_.getvalue(), count)
            records = list(block)
        except Exception as error:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
            raise RunError(
                f"{self.path}: damaged in the block of rows {self._bounds[index] + 1} to "
                f"{self._bounds[index + 1]}: {error}"
            ) from None
        return _inferred([field["name"] for field in self._schema["fields"]], records)


@lru_cache(maxsize=8)
def _read_block(file: AvroFile, index: int) -> pa.RecordBatch:
    return file.block(index)


def forget_blocks() -> None:
    """Free the blocks that are kept."""
    _read_block.cache_clear()


def _blocks(file: BinaryIO, path: Path) -> list[tuple[int, int, int]]:
    """Of each block how many records it has, where it starts, and its bytes, from here on."""
    found = []
    end = path.stat().st_size
    while (start := file.tell()) < end:
        count, size = _varint(file), _varint(file)
        after = file.tell() + size + _SYNC
        if count < 0 or size < 0 or after > end:
            raise RunError(
                f"{path}: cannot be read as Avro: the block at byte {start} is cut short or damaged"
            )
        found.append((count, start, after - start))
        file.seek(after)
    return found


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while (byte := file.read(1)) and shift < 70:
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return (value >> 1) ^ -(value & 1)
    return -1


def _program(schema: dict[str, object]) -> Program | None:
    """Reads every field; None where one is nested."""
    try:
        return program_of(schema, [field["name"] for field in schema["fields"]])  # type: ignore[attr-defined]
    except NestedError:
        return None


def _columns(program: Program, data: bytes, rows: int) -> pa.RecordBatch:
    starts, ends = np.zeros(rows, np.int64), np.full(rows, len(data))
    found = read_columns(program, np.frombuffer(data, np.uint8), starts, ends, chained=True)
    if found.bad:
        row, reason = next(iter(found.bad.items()))
        raise ValueError(f"its record {row + 1} {reason}")
    return pa.RecordBatch.from_pydict(found.columns)


def _inferred(names: list[str], records: list[dict[str, object]]) -> pa.RecordBatch:
    """Columns of records; a field that makes no column is left out."""
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([record.get(name) for record in records])
        except (pa.ArrowException, TypeError, OverflowError):
            continue
    return pa.RecordBatch.from_pydict(columns)


def _alike(parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The parts with the types of all: a column may be null throughout one of them."""
    schema = pa.unify_schemas([part.schema for part in parts], promote_options="permissive")
    if all(part.schema.equals(schema) for part in parts):
        return parts
    tables = [pa.Table.from_batches([part]) for part in parts]
    whole = pa.concat_tables(tables, promote_options="permissive")
    return list(whole.combine_chunks().to_batches())
