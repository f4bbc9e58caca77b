"""Columns -> Avro messages, without a Python object per event.

Every field of a row is at most four pieces one after another: the branch of its union, a number of
variable length (the value itself, or how much follows), bytes, and the end of a list. Two compiled
loops know these pieces: one measures them, one puts them in their places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

ARROW = {"double": pa.float64(), "long": pa.int64(), "int": pa.int64(), "string": pa.string()}
_NO_BYTES = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Messages:
    """Encoded rows [B]: row i is ``data[starts[i]:starts[i + 1]]``."""

    data: bytes
    starts: I64

    def __getitem__(self, i: int) -> bytes:
        return self.data[self.starts[i] : self.starts[i + 1]]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[bytes]:
        data, starts = self.data, self.starts.tolist()
        return (data[a:b] for a, b in pairwise(starts))


@dataclass(frozen=True)
class _Pieces:
    """One field of all rows [B]; ``union``: its branch is told, ``valid``: which branch."""

    union: bool
    valid: npt.NDArray[np.bool_]
    has_number: bool
    number: I64
    data: U8
    start: I64
    stop: I64
    ends_list: bool


def encode(schema: Mapping[str, Any], columns: pa.RecordBatch, prefix: bytes = b"") -> Messages:
    """The rows of ``columns`` [B] in the order of the schema's fields, ``prefix`` before each.

    Args:
        schema: a record of the types that :func:`beam_jobs.avro_schema.avro_schema` makes.
        columns: by the fields' names, of the types that :func:`arrow_type` says.
        prefix: what stands before every message, as Confluent's schema id does.
    """
    rows = columns.num_rows
    pieces = [_bytes(np.frombuffer(prefix, np.uint8), rows)] if prefix else []
    pieces += [_pieces(field["type"], columns.column(field["name"])) for field in schema["fields"]]
    return _put_together(pieces, rows)


def arrow_type(avro: Any) -> pa.DataType:
    """The Arrow type whose values a field of an Avro type is made of."""
    if isinstance(avro, list):
        return arrow_type(avro[1])
    if isinstance(avro, dict):
        if avro["type"] == "array":
            return pa.list_(arrow_type(avro["items"]))
        return arrow_type(avro["type"])
    return ARROW[avro]


def _put_together(pieces: list[_Pieces], rows: int) -> Messages:
    sizes = np.zeros(rows + 1, np.int64)
    for p in pieces:
        _measure(sizes[1:], p.union, p.valid, p.has_number, p.number, p.start, p.stop, p.ends_list)
    starts = np.cumsum(sizes)
    out, at = np.empty(starts[-1], np.uint8), starts[:-1].copy()
    for p in pieces:
        _put(
            *(out, at, p.union, p.valid, p.has_number, p.number),
            *(p.data, p.start, p.stop, p.ends_list),
        )
    return Messages(out.tobytes(), starts)


def _pieces(avro: Any, values: pa.Array) -> _Pieces:
    union = isinstance(avro, list)
    kind, rows = avro[1] if union else avro, len(values)
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    nothing, none = np.zeros(rows, np.int64), _NO_BYTES
    if pa.types.is_list(values.type):
        items = _put_together([_pieces(kind["items"], values.flatten())], len(values.flatten()))
        count = pc.list_value_length(values).fill_null(0).to_numpy().astype(np.int64)
        until = np.cumsum(count)
        data = np.frombuffer(items.data, np.uint8)
        start, stop = items.starts[until - count], items.starts[until]
        return _Pieces(union, valid, True, count, data, start, stop, True)
    if pa.types.is_string(values.type):
        offsets = np.frombuffer(values.buffers()[1], np.int32, rows + 1, values.offset * 4)
        text = values.buffers()[2]
        data = none if text is None else np.frombuffer(text, np.uint8)
        start = offsets.astype(np.int64)
        return _Pieces(union, valid, True, np.diff(start), data, start[:-1], start[1:], False)
    numbers = values.fill_null(0).to_numpy()
    if pa.types.is_integer(values.type):
        return _Pieces(union, valid, True, numbers, none, nothing, nothing, False)
    data = np.ascontiguousarray(numbers, "<f8").view(np.uint8)
    start = np.arange(0, 8 * rows, 8)
    return _Pieces(union, valid, False, nothing, data, start, start + 8, False)


def _bytes(data: U8, rows: int) -> _Pieces:
    start = np.zeros(rows, np.int64)
    return _Pieces(False, np.ones(rows, bool), False, start, data, start, start + len(data), False)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _measure(
    sizes: I64,
    union: bool,
    valid: npt.NDArray[np.bool_],
    has_number: bool,
    number: I64,
    start: I64,
    stop: I64,
    ends_list: bool,
) -> None:
    for i in range(len(sizes)):
        if union:
            sizes[i] += 1
        if not valid[i]:
            continue
        if has_number and not (ends_list and number[i] == 0):
            left = np.uint64((number[i] << 1) ^ (number[i] >> 63))
            sizes[i] += 1
            while left >= 128:
                left >>= np.uint64(7)
                sizes[i] += 1
        sizes[i] += stop[i] - start[i]
        if ends_list:
            sizes[i] += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _put(
    out: U8,
    at: I64,
    union: bool,
    valid: npt.NDArray[np.bool_],
    has_number: bool,
    number: I64,
    data: U8,
    start: I64,
    stop: I64,
    ends_list: bool,
) -> None:
    for i in range(len(at)):
        place = at[i]
        if union:
            out[place] = 2 if valid[i] else 0
            place += 1
        if valid[i]:
            if has_number and not (ends_list and number[i] == 0):
                left = np.uint64((number[i] << 1) ^ (number[i] >> 63))
                while left >= 128:
                    out[place] = np.uint8(left & np.uint64(127)) | np.uint8(128)
                    left >>= np.uint64(7)
                    place += 1
                out[place] = np.uint8(left)
                place += 1
            for byte in range(start[i], stop[i]):
                out[place] = data[byte]
                place += 1
            if ends_list:
                out[place] = 0
                place += 1
        at[i] = place
