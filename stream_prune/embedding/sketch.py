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

DEPTH = 4
_SEEDS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)
_HALF = np.uint64(32)


class Sketch(NamedTuple):
    """Cells of all tables; from ``base[f]`` table f owns ``DEPTH`` rows of 2^(64 - shift[f])."""

    cells: npt.NDArray[np.float32]
    base: I64
    shift: npt.NDArray[np.uint64]


def empty_sketch(half_lives: npt.NDArray[np.float64]) -> Sketch:
    """A sketch for tables with these half-lives [F], in events.

    The decayed count of everything that a table sees is at most half_life / ln 2 plus a batch, so
    half a cell a row per event of half-life keeps estimates close to the truth.
    """
    bits = np.array([min(18, max(8, int(h / 2).bit_length())) for h in half_lives.tolist()])
    base = np.concatenate(([0], np.cumsum(DEPTH << bits))).astype(np.int64)
    return Sketch(np.zeros(base[-1], np.float32), base, (64 - bits).astype(np.uint64))


@compiled
def _cell(sketch: Sketch, table: int, depth: int, key: int) -> np.int64:
    bits = np.uint64(key)
    shift = sketch.shift[table]
    width = (sketch.base[table + 1] - sketch.base[table]) // DEPTH
    place = np.int64(((bits ^ (bits >> _HALF)) * _SEEDS[depth]) >> shift)
    cell: np.int64 = sketch.base[table] + depth * width + place
    return cell


@compiled
def add(sketch: Sketch, table: int, key: int, amount: float) -> float:
    """Count ``amount`` more of an id; returns its new estimate."""
    estimate = np.inf
    for depth in range(DEPTH):
        estimate = min(estimate, float(sketch.cells[_cell(sketch, table, depth, key)]))
    estimate += amount
    raise_to(sketch, table, key, estimate)
    return estimate


@compiled
def raise_to(sketch: Sketch, table: int, key: int, count: float) -> None:
    """Make an id's estimate at least ``count``: what a row brings back when it is evicted."""
    for depth in range(DEPTH):
        cell = _cell(sketch, table, depth, key)
        sketch.cells[cell] = max(sketch.cells[cell], np.float32(count))
