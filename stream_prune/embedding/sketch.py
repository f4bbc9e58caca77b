"""Decayed counts of ids without a row, in memory that doesn't grow with the stream.

A count-min sketch with conservative update (Cormode & Muthukrishnan 2005; Estan & Varghese 2002):
an estimate is never below the true decayed count. An id's four cells lie in one block of 64 bytes,
which is one look into memory instead of four (as in Putze et al.'s blocked Bloom filters, 2007).
Counts decay by *growing increments*: instead of
shrinking every cell at each event, a sighting at event t adds 2^(t / half_life).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.prefetch import prefetch

_DEPTH = 4
_FIRST, _SECOND = np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_HALF, _TOP = np.uint64(32), np.uint64(56)
_TWO, _THREE, _FOUR, _SIX = np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(6)
_EIGHT, _TWELVE = np.uint64(8), np.uint64(12)


class Sketch(NamedTuple):
    """Blocks [., 16] of all tables; from ``base[f]`` on table f owns 2^(64 - shift[f])."""

    cells: npt.NDArray[np.float32]
    base: I64
    shift: npt.NDArray[np.uint64]


def empty_sketch(half_lives: npt.NDArray[np.float64]) -> Sketch:
    """A sketch for tables with these half-lives [F], in events.

    All decayed counts of a table together are at most half_life / ln 2 plus a batch, and most of
    them are of ids with a row, which are not counted here: six cells or so for an event of
    half-life, up to a megabyte a table.
    """
    bits = np.array([min(14, max(5, int(h / 4).bit_length())) for h in half_lives.tolist()])
    base = np.concatenate(([0], np.cumsum(1 << bits))).astype(np.int64)
    return Sketch(np.zeros((base[-1], 4 * _DEPTH), np.float32), base, (64 - bits).astype(np.uint64))


@compiled
def cells_of(sketch: Sketch, table: int) -> npt.NDArray[np.float32]:
    """A table's own blocks, as the functions on one id take them (:mod:`.id_map` says why)."""
    return sketch.cells[sketch.base[table] : sketch.base[table + 1]]


@compiled
def add(blocks: npt.NDArray[np.float32], shift: np.uint64, key: int, amount: float) -> float:
    """Count ``amount`` more of an id; returns its new estimate.

    The loops over the depth are written out: a stream's strangers spend most of their time here.
    """
    block, places = _hashes(key, shift)
    cells = blocks[block]
    first, second = places & _THREE, _FOUR + ((places >> _TWO) & _THREE)
    third = _EIGHT + ((places >> _FOUR) & _THREE)
    fourth = _TWELVE + ((places >> _SIX) & _THREE)
    least = min(min(cells[first], cells[second]), min(cells[third], cells[fourth]))
    estimate = float(least) + amount
    raised = np.float32(estimate)
    cells[first] = max(cells[first], raised)
    cells[second] = max(cells[second], raised)
    cells[third] = max(cells[third], raised)
    cells[fourth] = max(cells[fourth], raised)
    return estimate


@compiled
def fetch(blocks: npt.NDArray[np.float32], shift: np.uint64, key: int) -> None:
    """Hint that an id is about to be counted."""
    block, _ = _hashes(key, shift)
    prefetch(blocks, block * (4 * _DEPTH))


@compiled
def raise_to(blocks: npt.NDArray[np.float32], shift: np.uint64, key: int, count: float) -> None:
    """Make an id's estimate at least ``count``: what a row brings back when it is evicted."""
    block, places = _hashes(key, shift)
    cells = blocks[block]
    for depth in range(_DEPTH):
        cell = np.uint64(4 * depth) + (places & _THREE)
        cells[cell] = max(cells[cell], np.float32(count))
        places >>= _TWO


@compiled
def _hashes(key: int, shift: np.uint64) -> tuple[np.int64, np.uint64]:
    """An id's block, and two bits for each of its cells in it."""
    bits = np.uint64(key)
    bits ^= bits >> _HALF
    place = bits * _FIRST
    return np.int64(place >> shift), ((place ^ (place >> _HALF)) * _SECOND) >> _TOP
