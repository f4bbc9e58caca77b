"""A batch is counted, and who was seen often enough gets a row: the compiled loops.

Table by table in two passes, both of which ask memory ahead for what they will read: the look-up of
all ids with the counting of those that own a row, then the strangers, in their order.
"""

import numpy as np

from stream_prune.compiled import compiled
from stream_prune.embedding import id_map, sketch, waiting_room
from stream_prune.embedding.id_map import EMPTY, I64
from stream_prune.embedding.prefetch import AHEAD, prefetch
from stream_prune.embedding.row_set import F64, RowSet, evict, own, still_waiting

_ONE, _SIX_BITS = np.uint64(1), np.uint64(63)


@compiled
def admit(
    rows: RowSet,
    keys: I64,
    spans: I64,
    increment: F64,
    evicts: bool,
    fresh: I64,
    origin: I64,
    left: I64,
    found: I64,
) -> int:
    """Count the sightings of a batch, and give a row to who may own one.

    A row that is free, or else, if it ``evicts``, one that is listed as weak, whose owner is not
    seen in this batch, and that the newcomer beats.

    ``keys`` are laid out as for :func:`id_map.lookup`, ``increment`` [F] is what a sighting counts
    now. Returns how many rows were handed out and writes which into ``fresh``, what each starts as
    into ``origin`` (see :func:`own`), and the slot in which what was in it waits, or -1, into
    ``left``; ``found`` gets the row that each key has afterwards.
    """
    handed_out = 0
    strangers, evicted = np.empty(keys.size, np.int64), np.empty(fresh.size, np.int64)
    for table in range(rows.first.size):
        unknown = id_map.find_all(
            rows.ids, table, keys, spans, rows.first, rows.cold, found, strangers
        )
        owned = rows.first[table] + rows.cold[table]
        _count_owners(rows.counts, owned, found[spans[table] : spans[table + 1]], increment[table])
        room = rows.used[table] < rows.capacity[table]
        if unknown == 0 or not (room or rows.follow[table]) or not rows.open[table]:
            continue
        before, places = handed_out, strangers[:unknown]
        handed_out = _count_strangers(
            rows,
            table,
            keys,
            places,
            increment[table],
            evicts,
            fresh,
            origin,
            left,
            evicted,
            handed_out,
        )
        if handed_out > before:
            _find_again(rows, table, keys, places, found)
            still_waiting(rows.room, evicted[before:handed_out], left[before:handed_out])
    return handed_out


@compiled
def _count_owners(counts: F64, owned: int, found: I64, amount: float) -> None:
    """Count the sightings of ids with a row; rows before ``owned`` are cold ones."""
    for i in range(found.size):
        if i + AHEAD < found.size:
            prefetch(counts, found[i + AHEAD])
        counts[found[i]] += amount if found[i] >= owned else 0.0


@compiled
def _count_strangers(
    rows: RowSet,
    table: int,
    keys: I64,
    strangers: I64,
    amount: float,
    evicts: bool,
    fresh: I64,
    origin: I64,
    left: I64,
    evicted: I64,
    handed_out: int,
) -> int:
    """Count ``keys[strangers]``; rows are handed out as :func:`admit` says.

    What nearly every stranger passes through is kept short: a filter of 64 bits says of most ids
    that they were not admitted a moment ago, and one bar that they don't contest.
    """
    cells, counts, ids = rows.sketch, rows.counts, rows.ids
    # Half a sighting below: between two sightings the first one has decayed a little.
    enough = (rows.admission[table] - 0.5) * amount
    room, follows = rows.used[table] < rows.capacity[table], rows.follow[table]
    waits = rows.room.oldest[table] != EMPTY
    admitted, bar = np.uint64(0), _bar(rows, table, evicts)
    for j in range(strangers.size):
        if j + AHEAD < strangers.size:
            sketch.fetch(cells, table, keys[strangers[j + AHEAD]])
        key = keys[strangers[j]]
        bit = _ONE << (np.uint64(key) & _SIX_BITS)
        if admitted & bit:
            at = id_map.find(ids, table, key)
            if at >= 0:
                counts[ids.slots[at, 1]] += amount
                continue
        if not (room or follows):
            continue  # it was full before this sighting
        count = sketch.add(cells, table, key, amount)
        if count < enough:
            continue
        row = EMPTY
        if room:
            row = rows.first[table] + rows.cold[table] + rows.used[table]
            origin[handed_out] = own(rows, table, key, row, count)
            evicted[handed_out] = left[handed_out] = EMPTY
            rows.used[table] += 1
            rows.floor[table] = min(rows.floor[table], count)
            room = rows.used[table] < rows.capacity[table]
        elif count > bar and evicts:
            row = int(_gives_way(rows, table, count))
            if row != EMPTY:
                evicted[handed_out] = evict(rows, table, row)
                # First out, then in: the newcomer may have waited in the very slot.
                origin[handed_out] = own(rows, table, key, row, count)
                left[handed_out] = waiting_room.put(rows.room, table, evicted[handed_out])
        if row != EMPTY:
            fresh[handed_out] = row
            handed_out += 1
            admitted |= bit
            bar = _bar(rows, table, evicts)
            continue
        if waits:
            waiting_room.touch(rows.room, table, key)
        if count > bar:
            _enter(rows, table, key, count)
            bar = _bar(rows, table, evicts)
    return handed_out


@compiled
def _bar(rows: RowSet, table: int, evicts: bool) -> float:
    """What a count must exceed to win a listed row, or a place on the board."""
    if rows.capacity[table] == 0:
        return np.inf
    least = rows.floor[table]
    if evicts and rows.weak_next[table] < rows.weak_stop[table]:
        least = min(least, rows.weak_count[rows.weak_base[table] + rows.weak_next[table]])
    bar: float = rows.hysteresis[table] * least
    return bar


@compiled
def _gives_way(rows: RowSet, table: int, count: float) -> np.int64:
    """The weakest listed row that was not seen since, if this count beats it; else -1."""
    base = rows.weak_base[table]
    while rows.weak_next[table] < rows.weak_stop[table]:
        at = base + rows.weak_next[table]
        if not count > rows.hysteresis[table] * rows.weak_count[at]:
            break
        rows.weak_next[table] += 1
        row = rows.weak[at]
        if rows.counts[row] == rows.weak_count[at]:
            return np.int64(row)
    return np.int64(EMPTY)


@compiled
def _enter(rows: RowSet, table: int, key: int, count: float) -> None:
    """Put an id on the board, if it beats the table's floor and who has its cell."""
    if not count > rows.hysteresis[table] * rows.floor[table]:
        return
    cell = rows.board_base[table] + id_map.home(key, rows.board_shift[table])
    if rows.candidates[cell] == EMPTY:
        rows.queue[rows.board_base[table] + rows.waiting[table]] = cell
        rows.waiting[table] += 1
    if rows.candidates[cell] == key or count > rows.strength[cell]:
        rows.candidates[cell] = key
        rows.strength[cell] = count


@compiled
def _find_again(rows: RowSet, table: int, keys: I64, strangers: I64, found: I64) -> None:
    """Some strangers got their row at a later sighting in this batch."""
    for i in strangers:
        at = id_map.find(rows.ids, table, keys[i])
        if at >= 0:
            found[i] = rows.ids.slots[at, 1]
