"""Id -> row maps of all tables in flat arrays, in compiled loops.

Open addressing with linear probing at a load of at most one half; deletion shifts the entries
behind it back, so there are no tombstones and a map never degrades. All tables share the arrays:
table f owns the slots ``base[f] : base[f] + 2^(64 - shift[f])``.

Measured on one core: .36 ms for 53 k look-ups among 500 k ids, half of what pandas or cykhash take.

What is called for one id takes the slots and the shift of its table, not the maps of all: an array
that is handed to a compiled function costs some nanoseconds, as much as the look into memory.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.prefetch import AHEAD, prefetch

I64 = npt.NDArray[np.int64]

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing
_HALF = np.uint64(32)
EMPTY = -1


class IdMap(NamedTuple):
    """Slots of all tables: ``slots`` [S, 2] holds (id or -1, its flat row), together in memory."""

    slots: I64
    base: I64
    shift: npt.NDArray[np.uint64]


def empty_map(capacities: I64) -> IdMap:
    """An empty map with room for ``capacities`` [F] ids at a load of at most one half."""
    bits = np.array([max(1, (2 * capacity - 1).bit_length()) for capacity in capacities.tolist()])
    base = np.concatenate(([0], np.cumsum(1 << bits))).astype(np.int64)
    return IdMap(np.full((base[-1], 2), EMPTY, np.int64), base, (64 - bits).astype(np.uint64))


@compiled
def home(key: int, shift: np.uint64) -> np.int64:
    """The slot in which an id would like to be: the top bits of a multiplicative hash."""
    bits = np.uint64(key)
    return np.int64(((bits ^ (bits >> _HALF)) * _MIX) >> shift)


@compiled
def cold_row(key: int, rows: int) -> np.int64:
    """The place of an id among its table's cold rows, as :func:`.cold_rows.cold_rows` has it."""
    bits = np.uint64(key)
    high = ((bits ^ (bits >> _HALF)) * _MIX) >> _HALF
    return np.int64((high * np.uint64(rows)) >> _HALF)


@compiled
def slots_of(ids: IdMap, table: int) -> I64:
    """A table's own slots, as the functions on one id take them."""
    return ids.slots[ids.base[table] : ids.base[table + 1]]


@compiled
def find(slots: I64, shift: np.uint64, key: int) -> np.int64:
    """The slot of an id, or -1."""
    mask = len(slots) - 1
    slot = home(key, shift)
    while slots[slot, 0] != key:
        if slots[slot, 0] == EMPTY:
            return np.int64(-1)
        slot = (slot + 1) & mask
    return np.int64(slot)


@compiled
def insert(slots: I64, shift: np.uint64, key: int, row: int) -> None:
    """Add an id that is not there."""
    mask = len(slots) - 1
    slot = home(key, shift)
    while slots[slot, 0] != EMPTY:
        slot = (slot + 1) & mask
    slots[slot, 0] = key
    slots[slot, 1] = row


@compiled
def remove(slots: I64, shift: np.uint64, key: int) -> None:
    """Delete an id that is there, moving the entries behind it back towards their homes."""
    mask = len(slots) - 1
    hole = find(slots, shift, key)
    slot = hole
    while True:
        slot = (slot + 1) & mask
        other = slots[slot, 0]
        if other == EMPTY:
            break
        # An entry may move into the hole unless its home lies behind the hole.
        if ((slot - home(other, shift)) & mask) >= ((slot - hole) & mask):
            slots[hole, 0] = other
            slots[hole, 1] = slots[slot, 1]
            hole = slot
    slots[hole, 0] = EMPTY


@compiled
def find_all(
    ids: IdMap, table: int, keys: I64, spans: I64, first: I64, cold: I64, rows: I64, strangers: I64
) -> int:
    """:func:`lookup` for one table. Returns how many they are and writes
    their places into ``strangers``.
    """
    base, mask = ids.base[table], ids.base[table + 1] - ids.base[table] - 1
    shift, slots = ids.shift[table], ids.slots
    start, stop, stranger = spans[table], spans[table + 1], first[table]
    unknown = 0
    homes = np.empty(stop - start + AHEAD, np.int64)
    for i in range(stop - start):
        homes[i] = home(keys[start + i], shift)
    homes[stop - start :] = 0
    for i in range(start, stop):
        prefetch(slots, 2 * (base + homes[i - start + AHEAD]))
        key, slot = keys[i], homes[i - start]
        found = slots[base + slot, 0]
        while found != key and found != EMPTY:
            slot = (slot + 1) & mask
            found = slots[base + slot, 0]
        row = slots[base + slot, 1]
        strangers[unknown] = i
        unknown += found != key
        rows[i] = row if found == key else stranger
    if cold[table] > 1:
        for i in strangers[:unknown]:
            rows[i] = stranger + cold_row(keys[i], cold[table])
    return unknown


@compiled
def lookup(ids: IdMap, keys: I64, spans: I64, first: I64, cold: I64, rows: I64) -> None:
    """Rows of all keys, of table f at ``spans[f] : spans[f + 1]``.

    Strangers get one of the ``cold[f]`` rows from ``first[f]`` on.
    """
    strangers = np.empty(keys.size, np.int64)
    for table in range(cold.size):
        find_all(ids, table, keys, spans, first, cold, rows, strangers)
