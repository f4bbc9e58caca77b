"""A batch is counted, and who was seen often enough gets a row: the compiled loops.

Table by table in two passes, both of which ask memory ahead for what they will read: the look-up of
all ids with the counting of those that own a row, then the strangers, in their order.
"""

import numpy as np

from stream_prune.compiled_loops import compiled
from stream_prune.embedding import id_map, sketch, waiting_room
from stream_prune.embedding.id_map import EMPTY, I64
from stream_prune.embedding.prefetch import AHEAD, prefetch
from stream_prune.embedding.row_set import (
    F64,
    Owners,
    RowSet,
    evict,
    exchange,
    own,
    owners,
    still_waiting,
)

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
    into ``origin``, and the slot in which what was in it waits, or -1, into ``left`` (see
    :func:`.row_set.exchange`); ``found`` gets the row that each key has afterwards.
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
            _find_again(owners(rows, table), keys, places, found)
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
    of, before, gone = owners(rows, table), handed_out, 0
    slots, shift, blocks, block_shift = of.slots, of.shift, of.blocks, of.block_shift
    # Half a sighting below: between two sightings the first one has decayed a little.
    enough = (rows.admission[table] - 0.5) * amount
    first, follows = rows.first[table] + rows.cold[table], rows.follow[table]
    used, capacity = rows.used[table], rows.capacity[table]
    floor, hysteresis = rows.floor[table], rows.hysteresis[table]
    base, stop = rows.weak_base[table], rows.weak_base[table] + rows.weak_stop[table]
    weak, weak_counts = rows.weak[base:stop], rows.weak_count[base:stop]
    tried, waits = rows.weak_next[table], rows.room.oldest[table] != EMPTY
    bar = _bar(capacity, floor, hysteresis, weak_counts, tried, evicts)
    admitted = np.uint64(0)
    for j in range(strangers.size):
        if j + AHEAD < strangers.size:
            sketch.fetch(blocks, block_shift, keys[strangers[j + AHEAD]])
        key = keys[strangers[j]]
        bit = _ONE << (np.uint64(key) & _SIX_BITS)
        if admitted & bit:
            at = id_map.find(slots, shift, key)
            if at >= 0:
                of.counts[slots[at, 1]] += amount
                continue
        room = used < capacity
        if not (room or follows):
            continue  # it was full before this sighting
        count = sketch.add(blocks, block_shift, key, amount)
        if count < enough:
            continue
        row, loser = EMPTY, EMPTY
        if room:
            row = first + used
            used += 1
            floor = min(floor, count)
        elif count > bar and evicts:
            row, tried = _gives_way(of.counts, weak, weak_counts, tried, hysteresis, count)
            if row != EMPTY:
                loser = evict(of, row)
                gone += 1
        if row != EMPTY:
            own(of, key, row, count)
            cold = rows.first[table] + id_map.cold_row(key, rows.cold[table])
            origin[handed_out], left[handed_out] = cold, EMPTY
            if waits:
                origin[handed_out], left[handed_out] = exchange(rows.room, table, key, loser, cold)
            fresh[handed_out], evicted[handed_out] = row, loser
            handed_out += 1
            admitted |= bit
            bar = _bar(capacity, floor, hysteresis, weak_counts, tried, evicts)
            continue
        if waits:
            waiting_room.touch(rows.room, table, key)
        if count > bar:
            if count > hysteresis * floor:
                _enter(rows, table, key, count)
            bar = _bar(capacity, floor, hysteresis, weak_counts, tried, evicts)
    rows.used[table], rows.floor[table], rows.weak_next[table] = used, floor, tried
    rows.admissions[table] += handed_out - before
    rows.evictions[table] += gone
    return handed_out


@compiled
def _bar(
    capacity: int, floor: float, hysteresis: float, weak_counts: F64, tried: int, evicts: bool
) -> float:
    """What a count must exceed to win a listed row, or a place on the board."""
    if capacity == 0:
        return np.inf
    if evicts and tried < weak_counts.size:
        floor = min(floor, weak_counts[tried])
    return hysteresis * floor


@compiled
def _gives_way(
    counts: F64, weak: I64, weak_counts: F64, tried: int, hysteresis: float, count: float
) -> tuple[int, int]:
    """The weakest listed row that was not seen since, if this count beats it, else -1.

    And how many of those that are listed have been ``tried`` afterwards.
    """
    while tried < weak.size and count > hysteresis * weak_counts[tried]:
        tried += 1
        row = weak[tried - 1]
        if counts[row] == weak_counts[tried - 1]:
            return int(row), tried
    return EMPTY, tried


@compiled
def _enter(rows: RowSet, table: int, key: int, count: float) -> None:
    """Put an id on the board, if it beats who has its cell."""
    cell = rows.board_base[table] + id_map.home(key, rows.board_shift[table])
    if rows.candidates[cell] == EMPTY:
        rows.queue[rows.board_base[table] + rows.waiting[table]] = cell
        rows.waiting[table] += 1
    if rows.candidates[cell] == key or count > rows.strength[cell]:
        rows.candidates[cell] = key
        rows.strength[cell] = count


@compiled
def _find_again(of: Owners, keys: I64, strangers: I64, found: I64) -> None:
    """Some strangers got their row at a later sighting in this batch."""
    for i in strangers:
        at = id_map.find(of.slots, of.shift, keys[i])
        if at >= 0:
            found[i] = of.slots[at, 1]
