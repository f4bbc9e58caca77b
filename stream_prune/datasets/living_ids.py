"""The ids of the synthetic click log: popular by Zipf's law, born and dying.

A field has a fixed number of slots of different popularity. In each lives one id; when its time is
over it is never seen again, and a new one takes over the slot and its popularity.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stream_prune.datasets.known_truth import Floats, generator

FIELDS = 26
ID_COUNTS = tuple(int(n) for n in np.geomspace(4, 50_000, FIELDS))
"""Slots, and so living ids, of each field."""
IMMORTAL_IDS = 100
"""Fields with no more ids than this (countries, devices) keep theirs."""
LIFETIMES = (1, 2, 8)
"""Lifetimes of the fields' ids, in turn, in units of the shortest."""

Ids = npt.NDArray[np.int64]


def lifetime_of(field: int, shortest: int) -> int | None:
    """For how many events an id of a field lives; None: for ever."""
    if ID_COUNTS[field] <= IMMORTAL_IDS:
        return None
    return shortest * LIFETIMES[field % len(LIFETIMES)]


def draw_ids(
    uniform: Floats, first: int, popular: Ids, shortest: int, seed: tuple[int, ...]
) -> Ids:
    """Ids [26, B]: a slot's number, plus its id's generation times the field's slots.

    Args:
        uniform: draws from [0, 1) [26, B].
        first: number of the first of these B events.
        popular: the most popular slot of each field [26]; the next ones follow it.
        shortest: lifetime of the quickest fields' ids, in events.
        seed: of the stream, and the place of its ids' births.
    """
    events = np.arange(first, first + uniform.shape[1])
    ids = np.empty(uniform.shape, np.int64)
    for field, slots in enumerate(ID_COUNTS):
        # Of a uniform u, floor((slots + 1)^u) - 1 follows Zipf's law with exponent 1.
        rank = np.exp(uniform[field] * np.float32(np.log(slots + 1))).astype(np.int64) - 1
        slot = np.minimum(rank, slots - 1) + popular[field]  # rounded up, it may be past the last
        slot -= slots * (slot >= slots)
        lifetime = lifetime_of(field, shortest)
        if lifetime is not None:
            generation = (events + _ages(seed, field, lifetime)[slot]) // lifetime
            slot += generation * slots
        ids[field] = slot
    return ids


@lru_cache(maxsize=4 * FIELDS)
def _ages(seed: tuple[int, ...], field: int, lifetime: int) -> Ids:
    """How old the first id of each slot is when the stream begins, in events [slots]."""
    return generator(*seed, field).integers(lifetime, size=ID_COUNTS[field])
