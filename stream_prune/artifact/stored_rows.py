"""Embedding rows as an artifact stores them: float32, float16, or int8 with a scale a row.

A row of int8 is D codes in a byte each, then its scale and its offset in float16 (little endian):
``value = code * scale + offset``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream_prune.errors import RunError

NUMBERS = ("float32", "float16", "int8")
"""How rows may be stored."""

Floats = npt.NDArray[np.float32]

_CODES = 255
_HALF = np.dtype("<f2")
_TAIL = 2 * _HALF.itemsize  # scale and offset
_WHOLE_BYTES = 2**28  # as float32 in memory, where that is not more: each look-up decodes nothing


def store(rows: Floats, numbers: str) -> npt.NDArray[np.generic]:
    """Rows as they are stored: [V, D] float32 or float16, or [V, D + 4] uint8 (``int8``).

    Args:
        rows: float32 [V, D].
        numbers: one of :data:`NUMBERS`.

    Raises:
        RunError: a value does not fit, or is not finite.

    >>> rows = np.array([[0.0, 0.5, 1.0], [-2.0, -2.0, -2.0]], np.float32)
    >>> StoredRows([store(rows, "int8")], "int8", dim=3).take(np.array([1, 0])).round(2).tolist()
    [[-2.0, -2.0, -2.0], [0.0, 0.5, 1.0]]
    """
    if numbers == "float32":
        return rows
    if not np.isfinite(rows).all() or np.abs(rows).max(initial=0) > np.finfo(_HALF).max / 4:
        raise RunError(
            f"embedding rows hold values that {numbers} can't: not finite, or greater than "
            f"{np.finfo(_HALF).max / 4:,.0f}; store them as float32 (artifact.rows)"
        )
    return rows.astype(_HALF) if numbers == "float16" else _eight_bits(rows)


def _eight_bits(rows: Floats) -> npt.NDArray[np.uint8]:
    """Codes against the scale and the offset that are stored, so no value is out of their reach."""
    lowest = rows.min(axis=1, keepdims=True)
    offset = lowest.astype(_HALF)
    offset = np.where(offset > lowest, np.nextafter(offset, _HALF.type(-np.inf)), offset)
    reach = (rows.max(axis=1, keepdims=True) - offset.astype(np.float32)) / _CODES
    scale = reach.astype(_HALF)
    scale = np.where(scale < reach, np.nextafter(scale, _HALF.type(np.inf)), scale)
    steps = np.where(scale > 0, scale, 1).astype(np.float32)
    codes = np.rint((rows - offset.astype(np.float32)) / steps).clip(0, _CODES).astype(np.uint8)
    tail = np.ascontiguousarray(np.concatenate([scale, offset], axis=1).astype(_HALF))
    return np.concatenate([codes, tail.view(np.uint8)], axis=1)


class StoredRows:
    """The rows of all tables, one after another, read as float32.

    Args:
        tables: what :func:`store` made of each table [V, ...].
        numbers: one of :data:`NUMBERS`.
        dim: D.

    Raises:
        RunError: a table is of another type or width.
    """

    def __init__(self, tables: Sequence[npt.NDArray[np.generic]], numbers: str, dim: int) -> None:
        kind, width = _layout(numbers, dim)
        for table in tables:
            if table.dtype != kind or table.ndim != 2 or table.shape[1] != width:
                raise RunError(
                    f"rows of {numbers}, dim {dim}, are {kind} of width {width}; there are "
                    f"{table.dtype} of shape {table.shape}"
                )
        self.numbers, self.dim = numbers, dim
        self.first: npt.NDArray[np.int64] = np.cumsum([0, *(len(table) for table in tables)])
        stored = np.concatenate([np.zeros((0, width), kind), *tables])
        self.bytes_per_row = width * stored.itemsize
        self._values = stored if numbers != "int8" else np.ascontiguousarray(stored[:, :dim])
        if numbers == "int8":  # apart in memory: twice as fast as one gather of all three
            tail = np.ascontiguousarray(stored[:, dim:]).view(_HALF).astype(np.float32)
            self._scale, self._offset = (np.ascontiguousarray(tail[:, i : i + 1]) for i in (0, 1))
        self._whole: Floats | None = None
        if 4 * dim * len(stored) <= _WHOLE_BYTES:
            self._whole = self._decoded(np.arange(len(stored)))
            del self._values

    def take(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Rows float32 [..., D] by their place among all [...]."""
        return self._decoded(rows) if self._whole is None else self._whole.take(rows, axis=0)

    def _decoded(self, rows: npt.NDArray[np.int64]) -> Floats:
        values: Floats = self._values.take(rows, axis=0).astype(np.float32, copy=False)
        if self.numbers == "int8":
            values *= self._scale.take(rows, axis=0)
            values += self._offset.take(rows, axis=0)
        return values


def _layout(numbers: str, dim: int) -> tuple[np.dtype[np.generic], int]:
    if numbers == "int8":
        return np.dtype(np.uint8), dim + _TAIL
    return (np.dtype(np.float32) if numbers == "float32" else _HALF), dim
