"""Which ids own a row: the arrays of all tables, and the compiled loops that admit and contest.

A table's rows are flat rows from ``first[f]`` on: ``cold[f]`` cold rows, shared by all ids without
a row of their own, then up to ``capacity[f]`` owned rows, filled from the front. Sightings are
counted in decayed counts (see :mod:`~stream_prune.embedding.sketch`): exactly for owners, in the
sketch for the others. All counts of a table decay alike, so they compare as they are stored.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.compiled_loops import compiled
from stream_prune.embedding import id_map, sketch, waiting_room
from stream_prune.embedding.id_map import EMPTY, I64, IdMap
from stream_prune.embedding.sketch import Sketch
from stream_prune.embedding.waiting_room import WaitingRoom

F64 = npt.NDArray[np.float64]

FEWEST_LISTED = 8
"""Weak rows that are listed at least, for newcomers until the next contest."""


class RowSet(NamedTuple):
    """State of all tables (F tables, V flat rows); the loops below change it in place.

    ``owner`` [V] is the id of a row or -1, ``counts`` [V] their decayed counts. ``candidates`` and
    ``strength`` are the boards: ids without a row that were seen often enough since the last
    contest, one cell for each hash value, where the stronger of two stays (the weaker comes back at
    its next sighting), so their size is fixed too; ``queue`` lists the ``waiting`` [F] cells in use
    of each table from ``board_base[f]`` on. ``floor`` [F] is never above the count of the
    table's weakest row, so what can't win is not put on the board. ``weak`` [W] lists the weakest
    rows as of the last contest in rising order of their counts then, ``weak_count``: those of table
    f from ``weak_base[f]`` on, of which ``weak_next`` [F] to ``weak_stop`` [F] are left. One that
    has not been seen since goes to the first newcomer that beats it, at once.
    """

    ids: IdMap
    sketch: Sketch
    room: WaitingRoom
    owner: I64
    counts: F64
    first: I64
    cold: I64
    capacity: I64
    used: I64
    open: npt.NDArray[np.bool_]
    follow: npt.NDArray[np.bool_]
    admission: F64
    hysteresis: F64
    candidates: I64
    strength: F64
    board_base: I64
    board_shift: npt.NDArray[np.uint64]
    queue: I64
    waiting: I64
    floor: F64
    weak: I64
    weak_count: F64
    weak_base: I64
    weak_next: I64
    weak_stop: I64
    admissions: I64
    evictions: I64


class Owners(NamedTuple):
    """Of one table what changes with the owner of a row.

    Its map and its sketch with their shifts, and ``owner`` and ``counts`` of all tables. Inner
    loops take this and not a :class:`RowSet`: to hand over all arrays of that costs a call .15 us.
    """

    slots: I64
    shift: np.uint64
    blocks: npt.NDArray[np.float32]
    block_shift: np.uint64
    owner: I64
    counts: F64


@compiled
def owners(rows: RowSet, table: int) -> Owners:
    """Those of a table, as views."""
    return Owners(
        id_map.slots_of(rows.ids, table),
        rows.ids.shift[table],
        sketch.cells_of(rows.sketch, table),
        rows.sketch.shift[table],
        rows.owner,
        rows.counts,
    )


@compiled
def own(of: Owners, key: int, row: int, count: float) -> None:
    """Give a row that nobody owns to an id."""
    id_map.insert(of.slots, of.shift, key, row)
    of.owner[row] = key
    of.counts[row] = count


@compiled
def evict(of: Owners, row: int) -> int:
    """Take a row from its owner, whom it returns."""
    key = of.owner[row]
    id_map.remove(of.slots, of.shift, key)
    sketch.raise_to(of.blocks, of.block_shift, key, of.counts[row])
    return int(key)


@compiled
def exchange(room: WaitingRoom, table: int, key: int, evicted: int, cold: int) -> tuple[int, int]:
    """A newcomer leaves the waiting room, and whom it evicted, if anybody, enters it.

    Returns what the newcomer's row starts as, the ``cold`` row or -1 - the slot where it waited,
    and the slot in which what was in it waits, or -1.
    """
    slot = waiting_room.take(room, table, key)
    # First out, then in: the newcomer may have waited in the very slot.
    left = int(waiting_room.put(room, table, evicted)) if evicted != EMPTY else EMPTY
    return int(-1 - slot) if slot >= 0 else cold, left


@compiled
def _sink(counts: F64, rows: I64, at: int, size: int) -> None:
    """Restore a heap whose top is the strongest (of two equals: the later row)."""
    count, row = counts[at], rows[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            counts[right] > counts[child]
            or (counts[right] == counts[child] and rows[right] > rows[child])
        ):
            child = right
        if counts[child] < count or (counts[child] == count and rows[child] < row):
            break
        counts[at], rows[at] = counts[child], rows[child]
        at = child
    counts[at], rows[at] = count, row


@compiled
def weakest(counts: F64, start: int, stop: int, size: int) -> I64:
    """The places of the ``size`` least of ``counts[start:stop]`` in rising order."""
    rows = np.arange(stop - size, stop)
    heap = counts[stop - size : stop].copy()
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, rows, at, size)
    # From the back: the ids that got their rows last are the rarest, so little is replaced.
    for row in range(stop - size - 1, start - 1, -1):
        if counts[row] <= heap[0]:
            heap[0], rows[0] = counts[row], row
            _sink(heap, rows, 0, size)
    for last in range(size - 1, 0, -1):
        heap[0], heap[last] = heap[last], heap[0]
        rows[0], rows[last] = rows[last], rows[0]
        _sink(heap, rows, 0, last)
    return rows


@compiled
def contest(rows: RowSet, fresh: I64, origin: I64, left: I64) -> int:
    """Strongest candidate against weakest row, and so on, until a candidate doesn't win.

    A candidate wins when its count exceeds the row's times the hysteresis. Of equal candidates the
    one of the lower cell comes first, of equal rows the lower one. The boards are empty afterwards,
    and twice as many of the weakest rows as were asked for since the last contest are listed anew.
    Returns how many rows changed hands and writes which into ``fresh``, what each starts as into
    ``origin``, and the slot in which what was in it waits, or -1, into ``left`` (:func:`exchange`).
    """
    changed = 0
    for table in range(rows.first.size):
        if rows.waiting[table] == 0 and rows.weak_next[table] == 0:
            continue
        before, of = changed, owners(rows, table)
        waits = rows.room.oldest[table] != EMPTY
        wanted = 2 * (rows.waiting[table] + rows.weak_next[table]) + FEWEST_LISTED
        spare = min(rows.weak_base[table + 1] - rows.weak_base[table], wanted)
        board = rows.board_base[table]
        cells = rows.queue[board : board + rows.waiting[table]]
        cells = cells[weakest(cells.astype(np.float64), 0, cells.size, cells.size)]
        cells = cells[weakest(-rows.strength[cells], 0, cells.size, cells.size)]
        first, used = rows.first[table] + rows.cold[table], rows.used[table]
        evicted = np.empty(min(cells.size, used), np.int64)
        victims = weakest(rows.counts, first, first + used, min(cells.size + spare, used))
        for i in range(evicted.size):
            row, strength = victims[i], rows.strength[cells[i]]
            # Below this row are only those that changed hands, the last of them the weakest.
            rows.floor[table] = min(rows.counts[row], rows.strength[cells[max(i - 1, 0)]])
            if not strength > rows.hysteresis[table] * rows.counts[row]:
                break
            evicted[i], key = evict(of, row), rows.candidates[cells[i]]
            own(of, key, row, strength)
            cold = rows.first[table] + id_map.cold_row(key, rows.cold[table])
            origin[changed], left[changed] = cold, EMPTY
            if waits:
                origin[changed], left[changed] = exchange(rows.room, table, key, evicted[i], cold)
            fresh[changed] = row
            changed += 1
        rows.admissions[table] += changed - before
        rows.evictions[table] += changed - before
        still_waiting(rows.room, evicted, left[before:changed])
        clear_board(rows, table)
        _list(rows, table, victims[changed - before :][:spare])
    return changed


@compiled
def _list(rows: RowSet, table: int, weak: I64) -> None:
    base = rows.weak_base[table]
    rows.weak[base : base + weak.size] = weak
    rows.weak_count[base : base + weak.size] = rows.counts[weak]
    rows.weak_next[table], rows.weak_stop[table] = 0, weak.size


@compiled
def still_waiting(room: WaitingRoom, evicted: I64, slots: I64) -> None:
    """Of ids that shared a slot one after the other, the last one has it; the others get -1."""
    for i in range(slots.size):
        if slots[i] >= 0 and room.owner[slots[i]] != evicted[i]:
            slots[i] = EMPTY


@compiled
def disown(rows: RowSet, table: int, gone: I64, left: I64) -> None:
    """Give the counts of these rows back to the sketch; the id map is left to the caller.

    ``gone`` is in falling order of counts. Writes the slots in which they wait, or -1, to ``left``.
    """
    blocks, shift = sketch.cells_of(rows.sketch, table), rows.sketch.shift[table]
    waits = rows.room.oldest[table] != EMPTY
    for i in range(gone.size - 1, -1, -1):  # the strongest last: it is the last to be forgotten
        key = rows.owner[gone[i]]
        sketch.raise_to(blocks, shift, key, rows.counts[gone[i]])
        left[i] = waiting_room.put(rows.room, table, key) if waits else EMPTY
    still_waiting(rows.room, rows.owner[gone], left)
    rows.evictions[table] += gone.size


@compiled
def clear_board(rows: RowSet, table: int) -> None:
    """Forget a table's candidates; they come back at their next sighting."""
    board = rows.board_base[table]
    for cell in rows.queue[board : board + rows.waiting[table]]:
        rows.candidates[cell] = EMPTY
        rows.strength[cell] = 0.0
    rows.waiting[table] = 0


@compiled
def index(rows: RowSet) -> None:
    """Fill an empty id map from the owners of the rows."""
    for table in range(rows.first.size):
        slots, shift = id_map.slots_of(rows.ids, table), rows.ids.shift[table]
        start = rows.first[table] + rows.cold[table]
        for row in range(start, start + rows.used[table]):
            id_map.insert(slots, shift, rows.owner[row], row)
