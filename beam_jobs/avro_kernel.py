"""Avro's binary encoding, record by record but column by column: loops compiled by numba.

A record is walked once by a *program*, one instruction a field; what is wanted of it goes into
arrays, text only as its place in the bytes. A record that does not end where it should is marked
and disturbs no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

C = TypeVar("C", bound=Callable[..., Any])

NULL, BOOLEAN, INTEGER, FLOAT, DOUBLE, BYTES, FIXED, ENUM, ARRAY, MAP = range(10)
"""Kinds of an instruction; INTEGER is int and long, BYTES also string."""

KIND, NULL_BRANCH, ARGUMENT, SLOT = range(4)
"""Columns of a program: kind; which branch of a union is null, -1 without a union; size of a FIXED,
symbols of an ENUM, kind of the items of an ARRAY or MAP; row of the result, -1: not wanted."""

FINE, SHORT, VARINT, BRANCH, SYMBOL, LENGTH, REST = range(7)
REASONS = {
    SHORT: "ends in the middle of a value",
    VARINT: "holds a number of more than ten bytes",
    BRANCH: "names a branch that its union does not have",
    SYMBOL: "names a symbol that its enumeration does not have",
    LENGTH: "holds a length that cannot be",
    REST: "has bytes left after its last value",
}


def _compiled(loop: C) -> C:
    return cast(C, numba.njit(cache=True, nogil=True)(loop))


@_compiled
def _varint(data: Any, at: int, end: int) -> Any:
    """(value, place after it); the place is minus a reason where there is none."""
    value, shift = np.uint64(0), np.uint64(0)
    for _ in range(10):
        if at >= end:
            return np.int64(0), -SHORT
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < 128:
            sign = np.uint64(0) - (value & np.uint64(1))
            return np.int64((value >> np.uint64(1)) ^ sign), at
        shift += np.uint64(7)
    return np.int64(0), -VARINT


@_compiled
def _skip(data: Any, kind: int, argument: int, at: int, end: int) -> Any:
    """The place after a value that is no array or map, or minus a reason."""
    if kind == NULL:
        return at
    if kind == BOOLEAN:
        after = at + 1
    elif kind == FLOAT:
        after = at + 4
    elif kind == DOUBLE:
        after = at + 8
    elif kind == FIXED:
        after = at + argument
    else:
        value, after = _varint(data, at, end)
        if after < 0:
            return after
        if kind == BYTES:
            if value < 0 or value > end - after:
                return -LENGTH
            after += value
        elif kind == ENUM and not 0 <= value < argument:
            return -SYMBOL
    return after if after <= end else -SHORT


@_compiled
def _items(data: Any, kind: int, item: int, at: int, end: int) -> Any:
    """(number of items, place after an array or map); the place is minus a reason."""
    total = 0
    while True:
        count, at = _varint(data, at, end)
        if at < 0 or count == 0:
            return total, at
        if count < 0:
            count = -count
            _, at = _varint(data, at, end)
            if at < 0:
                return total, at
        if count < 0 or count > end - at:  # an item takes a byte at least
            return total, -LENGTH
        total += count
        for _ in range(count):
            if kind == MAP:
                at = _skip(data, BYTES, 0, at, end)
                if at < 0:
                    return total, at
            at = _skip(data, item, 0, at, end)
            if at < 0:
                return total, at


@_compiled
def read_records(
    data: Any,
    starts: Any,
    ends: Any,
    program: Any,
    integers: Any,
    floats: Any,
    spans: Any,
    nulls: Any,
    bad: Any,
    chained: bool,
) -> None:
    """Read B records.

    Args:
        data: uint8, all bytes.
        starts, ends: int64 [B], where each record lies; ``chained``: a record starts where the one
            before it ends, only the first start counts.
        program: int64 [F, 4].
        integers: int64 [I, B]; floats: float64 [J, B]; spans: int64 [S, 2, B], start and length of
            text, start and number of items of arrays: the results, by slot.
        nulls: bool [F, B], the result.
        bad: uint8 [B], the result: FINE or why the record cannot be read.
        chained: see ``starts``.
    """
    at = starts[0] if len(starts) else 0
    for row in range(len(starts)):
        if not chained:
            at = starts[row]
        end = ends[row]
        why = FINE
        for field in range(len(program)):
            kind, branch = program[field, KIND], program[field, NULL_BRANCH]
            argument, slot = program[field, ARGUMENT], program[field, SLOT]
            if branch >= 0:
                chosen, at = _varint(data, at, end)
                if at < 0 or not 0 <= chosen <= 1:
                    why = -at if at < 0 else BRANCH
                    break
                if chosen == branch:
                    nulls[field, row] = True
                    continue
            start, value, count = at, 0, 0
            if kind == NULL:
                nulls[field, row] = True
            elif kind in (ARRAY, MAP):
                count, at = _items(data, kind, argument, at, end)
            elif kind in (INTEGER, ENUM):
                value, at = _varint(data, at, end)
                if at >= 0 and kind == ENUM and not 0 <= value < argument:
                    at = -SYMBOL
            elif kind == BYTES:
                count, at = _varint(data, at, end)
                if at >= 0:
                    start = at
                    at = at + count if 0 <= count <= end - at else -LENGTH
            else:
                at = _skip(data, kind, argument, at, end)
                count = argument
            if at < 0:
                why = -at
                break
            if slot < 0:
                continue
            if kind in (INTEGER, ENUM):
                integers[slot, row] = value
            elif kind == BOOLEAN:
                integers[slot, row] = data[start] != 0
            elif kind == FLOAT:
                floats[slot, row] = data[start : start + 4].view(np.float32)[0]
            elif kind == DOUBLE:
                floats[slot, row] = data[start : start + 8].view(np.float64)[0]
            elif kind != NULL:
                spans[slot, 0, row] = start
                spans[slot, 1, row] = count
        if why == FINE and not chained and at != end:
            why = REST
        bad[row] = why
        if why != FINE and chained:
            bad[row:] = why
            return
    if chained and len(starts) and at != ends[-1]:
        bad[-1] = REST


@_compiled
def gather_bytes(data: Any, starts: Any, offsets: Any, out: Any) -> None:
    """Copy pieces of ``data`` that begin at ``starts`` [B] to ``out``, by its ``offsets`` [B + 1].

    Short pieces are copied byte by byte: that is faster than a call.
    """
    for row in range(len(starts)):
        start, first = starts[row], offsets[row]
        size = offsets[row + 1] - first
        if size > 32:
            out[first : first + size] = data[start : start + size]
        else:
            for i in range(size):
                out[first + i] = data[start + i]


@_compiled
def read_items(data: Any, starts: Any, offsets: Any, kind: int, integers: Any, spans: Any) -> None:
    """Read the items of arrays that ``read_records`` has walked.

    Args:
        data: uint8, all bytes.
        starts: int64 [B], where each array begins.
        offsets: int64 [B + 1], the place of its items in the result.
        kind: INTEGER, BYTES or BOOLEAN.
        integers: int64 [items], the result of the first and the last.
        spans: int64 [2, items], start and length: the result of the second.
    """
    end = len(data)
    for row in range(len(starts)):
        at, done = starts[row], offsets[row]
        while done < offsets[row + 1]:
            count, at = _varint(data, at, end)
            if count < 0:
                count = -count
                _, at = _varint(data, at, end)
            for _ in range(count):
                if kind == BOOLEAN:
                    integers[done] = data[at] != 0
                    at += 1
                elif kind == INTEGER:
                    integers[done], at = _varint(data, at, end)
                else:
                    size, at = _varint(data, at, end)
                    spans[0, done], spans[1, done] = at, size
                    at += size
                done += 1
