"""Decayed counts of ids without a row, in memory that doesn't grow with the stream.

A count-min sketch with conservative update (Cormode & Muthukrishnan 2005; Estan & Varghese 2002):
an estimate is never below the true decayed count. Counts decay by *growing increments*: instead of
shrinking every cell at each event, a sighting at event t adds 2^(t / half_life).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.embedding.compiled import compiled
from stream_prune.embedding.id_map import I64

_DEPTH = 4
_FIRST, _SECOND = np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_HALF, _ODD = np.uint64(32), np.uint64(1)


class Sketch(NamedTuple):
    """Cells [., 4] of all tables; from ``base[f]`` table f owns 2^(64 - shift[f]) a column."""

    cells: npt.NDArray[np.float32]
    base: I64
    shift: npt.NDArray[np.uint64]


def empty_sketch(half_lives: npt.NDArray[np.float64]) -> Sketch:
    """A sketch for tables with these half-lives [F], in events.

    All decayed counts of a table together are at most half_life / ln 2 plus a batch, so about
    three cells for an event of half-life keep estimates close to the truth.
    """
    bits = np.array([min(18, max(7, int(h / 2).bit_length())) for h in half_lives.tolist()])
    base = np.concatenate(([0], np.cumsum(1 << bits))).astype(np.int64)
    return Sketch(np.zeros((base[-1], _DEPTH), np.float32), base, (64 - bits).astype(np.uint64))


@compiled
def add(sketch: Sketch, table: int, key: int, amount: float) -> float:
    """Count ``amount`` more of an id; returns its new estimate.

    The loops over the depth are written out: a stream's strangers spend most of their time here.
    """
    cells, base, shift = sketch.cells, sketch.base[table], sketch.shift[table]
    place, stride = _hashes(key)
    first = base + np.int64(place >> shift)
    second = base + np.int64((place + stride) >> shift)
    third = base + np.int64((place + stride + stride) >> shift)
    fourth = base + np.int64((place + stride + stride + stride) >> shift)
    least = min(
        min(cells[first, 0], cells[second, 1]),
        min(cells[third, 2], cells[fourth, 3]),
    )
    estimate = float(least) + amount
    raised = np.float32(estimate)
    cells[first, 0] = max(cells[first, 0], raised)
    cells[second, 1] = max(cells[second, 1], raised)
    cells[third, 2] = max(cells[third, 2], raised)
    cells[fourth, 3] = max(cells[fourth, 3], raised)
    return estimate


@compiled
def raise_to(sketch: Sketch, table: int, key: int, count: float) -> None:
    """Make an id's estimate at least ``count``: what a row brings back when it is evicted."""
    base, shift = sketch.base[table], sketch.shift[table]
    place, stride = _hashes(key)
    for depth in range(_DEPTH):
        cell = base + np.int64(place >> shift)
        sketch.cells[cell, depth] = max(sketch.cells[cell, depth], np.float32(count))
        place += stride


@compiled
def _hashes(key: int) -> tuple[np.uint64, np.uint64]:
    """Start and stride of an id's cells (Kirsch & Mitzenmacher 2006)."""
    bits = np.uint64(key)
    bits ^= bits >> _HALF
    place = bits * _FIRST
    stride = (place ^ (place >> _HALF)) * _SECOND
    return place, stride | _ODD
