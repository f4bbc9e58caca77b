"""Avro records as Arrow columns, without a Python object for any of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import avro_kernel as kernel
from beam_jobs.avro_program import Column, Program

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AvroColumns:
    """The wanted columns of records [B]; ``bad``: by row, why a record cannot be read.

    The values of a bad row mean nothing.
    """

    columns: dict[str, pa.Array]
    bad: dict[int, str]


def read_columns(
    program: Program,
    data: npt.NDArray[np.uint8],
    starts: Integers,
    ends: Integers,
    *,
    chained: bool = False,
) -> AvroColumns:
    """Read records with a program.

    Args:
        program: of their schema.
        data: their bytes.
        starts, ends: [B], where each record lies; with ``chained`` a record starts where the one
            before it ends, and only the first start counts: how a container's block holds them.
        chained: see ``starts``.
    """
    rows = len(starts)
    integers = np.zeros((program.integers, rows), np.int64)
    floats = np.zeros((program.floats, rows), np.float64)
    spans = np.zeros((program.spans, 2, rows), np.int64)
    nulls = np.zeros((len(program.instructions), rows), np.bool_)
    why = np.zeros(rows, np.uint8)
    kernel.read_records(
        data, starts, ends, program.instructions, integers, floats, spans, nulls, why, chained
    )
    unreadable = why != kernel.FINE
    bad = {row: kernel.REASONS[int(why[row])] for row in np.flatnonzero(unreadable).tolist()}
    spans[:, :, unreadable] = 0
    columns = {}
    for name, column in program.columns.items():
        absent = nulls[column.field] | unreadable
        if column.kind in ("float", "double"):
            values = pa.array(floats[column.slot], mask=absent)
        elif column.kind == "null":
            values = pa.nulls(rows)
        elif column.kind == "boolean":
            values = pa.array(integers[column.slot] != 0, mask=absent)
        elif column.kind == "enum":
            codes = pa.array(integers[column.slot].astype(np.int32), mask=absent)
            symbols = pa.array(column.symbols, pa.string())
            values = pa.DictionaryArray.from_arrays(codes, symbols).dictionary_decode()
        elif column.kind in ("bytes", "string"):
            span = np.where(absent, 0, spans[column.slot])
            values = _text(data, span[0], span[1], absent, name, bad)
        elif column.kind == "array":
            span = np.where(absent, 0, spans[column.slot])
            values = _lists(data, span[0], span[1], absent, column, name, bad)
        else:
            values = _plain_or_logical(integers[column.slot], absent, column)
        columns[name] = values
    return AvroColumns(columns, dict(sorted(bad.items())))


def _plain_or_logical(numbers: Integers, absent: npt.NDArray[np.bool_], column: Column) -> pa.Array:
    if column.logical is None:
        return pa.array(numbers, mask=absent)
    if pa.types.is_date32(column.logical):
        return pa.array(numbers.astype(np.int32), mask=absent).cast(column.logical)
    return pa.array(numbers, mask=absent).cast(column.logical)


def _text(
    data: npt.NDArray[np.uint8],
    starts: Integers,
    lengths: Integers,
    absent: npt.NDArray[np.bool_],
    name: str,
    bad: dict[int, str],
) -> pa.Array:
    """Text [B]; rows whose bytes are no UTF-8 are added to ``bad`` and become null."""
    offsets = _offsets(lengths)
    joined = np.empty(int(offsets[-1]), np.uint8)
    kernel.gather_bytes(data, starts, offsets, joined)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(joined)]
    raw = pa.Array.from_buffers(pa.binary(), len(starts), buffers)
    wrong = _not_utf8(raw)
    for row in wrong:
        bad.setdefault(row, f"field {name!r} is no UTF-8 text")
    if wrong or absent.any():
        absent = absent.copy()
        absent[wrong] = True
        mask = pa.py_buffer(np.packbits(~absent, bitorder="little"))
        raw = pa.Array.from_buffers(pa.binary(), len(starts), [mask, *buffers[1:]])
    return raw.cast(pa.string())


def _not_utf8(raw: pa.Array) -> list[int]:
    try:
        raw.cast(pa.string())
    except pa.ArrowInvalid:
        return [row for row, value in enumerate(raw.to_pylist()) if not _decodes(value)]
    return []


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lists(
    data: npt.NDArray[np.uint8],
    starts: Integers,
    counts: Integers,
    absent: npt.NDArray[np.bool_],
    column: Column,
    name: str,
    bad: dict[int, str],
) -> pa.Array:
    """Lists [B] of integers, booleans or text."""
    offsets = _offsets(counts)
    total = int(offsets[-1])
    integers, spans = np.zeros(total, np.int64), np.zeros((2, total), np.int64)
    kind = {"string": kernel.BYTES, "boolean": kernel.BOOLEAN}.get(str(column.item), kernel.INTEGER)
    kernel.read_items(data, starts, offsets, kind, integers, spans)
    if kind == kernel.BYTES:
        wrong: dict[int, str] = {}
        items = _text(data, spans[0], spans[1], np.zeros(total, np.bool_), name, wrong)
        for item, reason in wrong.items():
            bad.setdefault(int(np.searchsorted(offsets, item, side="right")) - 1, reason)
    elif kind == kernel.BOOLEAN:
        items = pa.array(integers != 0)
    else:
        items = pa.array(integers)
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items)
    if not absent.any():
        return lists
    mask = pa.py_buffer(np.packbits(~absent, bitorder="little"))
    return pa.Array.from_buffers(
        lists.type, len(lists), [mask, lists.buffers()[1]], children=[items]
    )


def _offsets(lengths: Integers) -> Integers:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
