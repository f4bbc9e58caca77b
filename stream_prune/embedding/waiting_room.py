"""Ids that lost their row lately, least recently used first: where their rows wait to come back.

A table's slots ``base[f] : base[f + 1]`` are one doubly linked list from ``oldest`` to ``newest``
that never changes its length: a slot without an id stands at the old end. An id is used when it is
evicted, and again when it is seen often enough to contest.
"""

from typing import NamedTuple

import numpy as np

from stream_prune.compiled_loops import compiled
from stream_prune.embedding import id_map
from stream_prune.embedding.id_map import EMPTY, I64, IdMap, empty_map


class WaitingRoom(NamedTuple):
    """Slots of all tables [W]: their ids, their neighbours, and each table's ends [F]."""

    ids: IdMap
    owner: I64
    newer: I64
    older: I64
    oldest: I64
    newest: I64
    base: I64


def empty_room(sizes: I64) -> WaitingRoom:
    """Rooms of ``sizes`` [F] slots with nobody in them."""
    base = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    slots = np.arange(base[-1])
    newer, older = slots + 1, slots - 1
    filled = np.flatnonzero(sizes)
    newer[base[filled + 1] - 1] = EMPTY
    older[base[filled]] = EMPTY
    return WaitingRoom(
        ids=empty_map(sizes),
        owner=np.full(base[-1], EMPTY, np.int64),
        newer=newer,
        older=older,
        oldest=np.where(sizes > 0, base[:-1], EMPTY),
        newest=np.where(sizes > 0, base[1:] - 1, EMPTY),
        base=base,
    )


@compiled
def _unlink(room: WaitingRoom, table: int, slot: int) -> None:
    newer, older = room.newer[slot], room.older[slot]
    if newer == EMPTY:
        room.newest[table] = older
    else:
        room.older[newer] = older
    if older == EMPTY:
        room.oldest[table] = newer
    else:
        room.newer[older] = newer


@compiled
def _append(room: WaitingRoom, table: int, slot: int) -> None:
    room.older[slot], room.newer[slot] = room.newest[table], EMPTY
    if room.newest[table] == EMPTY:
        room.oldest[table] = slot
    else:
        room.newer[room.newest[table]] = slot
    room.newest[table] = slot


@compiled
def put(room: WaitingRoom, table: int, key: int) -> np.int64:
    """The slot in which an evicted id waits from now on, or -1 where the table has no room."""
    slot = room.oldest[table]
    if slot == EMPTY:
        return np.int64(EMPTY)
    slots, shift = id_map.slots_of(room.ids, table), room.ids.shift[table]
    if room.owner[slot] != EMPTY:
        id_map.remove(slots, shift, room.owner[slot])
    _unlink(room, table, slot)
    _append(room, table, slot)
    room.owner[slot] = key
    id_map.insert(slots, shift, key, slot)
    at: np.int64 = slot
    return at


@compiled
def take(room: WaitingRoom, table: int, key: int) -> np.int64:
    """The slot in which an id waited, which is free from now on; -1 where it did not wait."""
    if room.oldest[table] == EMPTY:
        return np.int64(EMPTY)
    slots, shift = id_map.slots_of(room.ids, table), room.ids.shift[table]
    at = id_map.find(slots, shift, key)
    if at < 0:
        return np.int64(EMPTY)
    slot = slots[at, 1]
    id_map.remove(slots, shift, key)
    room.owner[slot] = EMPTY
    _unlink(room, table, slot)
    room.newer[slot], room.older[slot] = room.oldest[table], EMPTY
    if room.oldest[table] == EMPTY:
        room.newest[table] = slot
    else:
        room.older[room.oldest[table]] = slot
    room.oldest[table] = slot
    free: np.int64 = slot
    return free


@compiled
def touch(room: WaitingRoom, table: int, key: int) -> None:
    """An id that may be waiting has been seen: the others leave before it."""
    if room.oldest[table] == EMPTY:
        return
    slots = id_map.slots_of(room.ids, table)
    at = id_map.find(slots, room.ids.shift[table], key)
    if at >= 0:
        slot = slots[at, 1]
        _unlink(room, table, slot)
        _append(room, table, slot)


@compiled
def index(room: WaitingRoom) -> None:
    """Fill an empty id map from the owners of the slots."""
    for table in range(room.oldest.size):
        slots, shift = id_map.slots_of(room.ids, table), room.ids.shift[table]
        for slot in range(room.base[table], room.base[table + 1]):
            if room.owner[slot] != EMPTY:
                id_map.insert(slots, shift, room.owner[slot], slot)
