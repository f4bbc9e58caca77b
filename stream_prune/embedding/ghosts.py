"""Ghost caches: counts without rows, that show what each half-life would have covered.

For every candidate half-life a would-be row set is kept over a hash sample of a table's ids, with
the table's capacity scaled to the sample (spatially hashed sampling: SHARDS, Waldspurger et al.,
FAST 2015; scaled-down caches for any policy: Waldspurger et al., USENIX ATC 2017). A round of
look-ups is scored with the sets of the round before it, so a candidate is judged by its coverage of
what came next. Two things that a cache of bytes does not know are counted here, because a row has
to learn before it is worth having: a hit counts age / (age + maturity), age being the look-ups of
that row since its admission, and every admission costs ``churn`` look-ups.

The same look-ups, sorted by the rank of their id in the round before, are the coverage of *every*
capacity at once: the coverage curve.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.compiled_loops import compiled
from stream_prune.embedding import id_map
from stream_prune.embedding.id_map import EMPTY, I64, IdMap

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

ROWS = 64  # rows of a would-be set, at most; the sample is chosen for it
TRACKED = 8  # ids that are counted, for each row of a would-be set
BINS = 32  # of the coverage curve; up to TRACKED * ROWS ranks
AGES = 1024  # ages that are told apart
RESTS = 8  # rounds that a table sits out in which every id had its row
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF, _TOP = np.uint64(32), np.uint64(40)
FULL = 1 << 24  # all of the sampling hash's values
_FILLING = -1  # a would-be set still has room, so nothing is to be judged
UNSEEN, READY = -2, -1  # ages of ids outside of a set: not seen often enough yet, or often enough


class Ghosts(NamedTuple):
    """F tables, K candidates, E tracked ids (those of table f at ``base[f] : base[f + 1]``).

    ``age`` [E, K] is the look-ups of an id since it entered a would-be set, or negative; ``bin``
    [E] says how far up it stood at the end of the last round, by the candidate in force. ``value``
    [F, K] and ``weight`` [F] are decayed sums over rounds, of the matured hits less churn and of
    the look-ups, over the ``judged`` [F] rounds; ``hits`` [F, BINS + 1] of the look-ups by rank,
    those of untracked ids last. Newcomers whose count exceeds ``bar`` [F, K], what the weakest of a
    set asks for, enter it at once: ``admits`` [F, K] may still before the round
    is over, as they would find rows that are free or about to be given away; ``entered`` did. A
    table in which there is nothing to choose is ``idle`` [F] for so many rounds.
    """

    ids: IdMap
    owner: I64
    counts: npt.NDArray[np.float32]
    age: npt.NDArray[np.int32]
    bin: npt.NDArray[np.int8]
    base: I64
    used: I64
    limit: I64
    rows: I64
    origin: F64
    seen: F64
    total: F64
    covered: F64
    bar: F64
    admits: I64
    entered: I64
    round_hits: F64
    value: F64
    weight: F64
    hits: F64
    judged: I64
    idle: I64


def sample(capacity: int) -> tuple[int, int]:
    """(rows of the would-be sets, share of the ids in units of 2^-24) for a table.

    >>> sample(100), sample(10_000)
    ((50, 8388608), (39, 65536))
    """
    halvings = max(0, (max(1, capacity) - 1) // ROWS).bit_length()
    return capacity >> halvings, FULL >> halvings


def empty_ghosts(capacities: I64, candidates: int) -> Ghosts:
    """Ghost caches for tables of these capacities [F] that have seen nothing."""
    sampled = [sample(capacity) if candidates else (0, 0) for capacity in capacities.tolist()]
    rows = np.array([rows for rows, _ in sampled], np.int64)
    sizes = np.where(rows > 0, TRACKED * np.maximum(rows, 16), 0)
    base = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    tables, entries = rows.size, int(base[-1])
    return Ghosts(
        ids=id_map.empty_map(sizes),
        owner=np.full(entries, EMPTY, np.int64),
        counts=np.zeros((entries, candidates), np.float32),
        age=np.full((entries, candidates), UNSEEN, np.int32),
        bin=np.full(entries, BINS, np.int8),
        base=base,
        used=np.zeros(tables, np.int64),
        limit=np.array([limit for _, limit in sampled], np.int64),
        rows=rows,
        origin=np.zeros(tables),
        seen=np.zeros(tables),
        total=np.zeros(tables),
        covered=np.zeros((tables, candidates)),
        bar=np.zeros((tables, candidates)),
        admits=np.repeat(rows[:, None], candidates, 1),
        entered=np.zeros((tables, candidates), np.int64),
        round_hits=np.zeros((tables, BINS + 1)),
        value=np.zeros((tables, candidates)),
        weight=np.zeros(tables),
        hits=np.zeros((tables, BINS + 1)),
        judged=np.full(tables, _FILLING, np.int64),
        idle=np.zeros(tables, np.int64),
    )


def worth(maturity: float) -> F64:
    """What the hits before each age count together [AGES + 1]; a hit counts by the row's age.

    Rows older than that count as the oldest of these.
    """
    ages = np.arange(AGES)
    return np.concatenate(([0.0], np.cumsum(ages / (ages + maturity))))


@compiled
def observe(
    ghosts: Ghosts, keys: I64, spans: I64, increment: F32, admission: F64, worth: F64
) -> None:
    """Count a batch, laid out as for :func:`.id_map.lookup`; ``increment`` [F, K].

    ``worth`` is the sum of what the hits up to an age count (:func:`worth`).
    """
    longest = np.diff(spans).max()
    sampled, entries = np.empty(longest, np.int64), np.empty(longest, np.int64)
    times = np.zeros(ghosts.owner.size, np.int32)
    for table in range(ghosts.rows.size):
        if ghosts.rows[table] == 0 or ghosts.idle[table] > 0:
            continue
        seen = _sample(keys, spans[table], spans[table + 1], ghosts.limit[table], sampled)
        known = _track(ghosts, table, sampled[:seen], times, entries)
        _count(ghosts, table, entries[:known], times, increment[table], admission[table], worth)
        ghosts.seen[table] += seen
        ghosts.total[table] += spans[table + 1] - spans[table]


@compiled
def _sample(keys: I64, start: int, stop: int, limit: int, sampled: I64) -> int:
    """Writes the keys at ``start : stop`` that belong to the sample, and returns how many."""
    seen = 0
    for i in range(start, stop):
        bits = np.uint64(keys[i])
        sampled[seen] = keys[i]
        seen += int(np.int64(((bits ^ (bits >> _HALF)) * _MIX) >> _TOP) < limit)
    return seen


@compiled
def _track(ghosts: Ghosts, table: int, keys: I64, times: I32, entries: I64) -> int:
    """How many times each tracked id occurs; writes which do, and returns how many."""
    slots, shift = id_map.slots_of(ghosts.ids, table), ghosts.ids.shift[table]
    mask = len(slots) - 1
    start, room = ghosts.base[table], ghosts.base[table + 1] - ghosts.base[table]
    known = 0
    for key in keys:
        slot = id_map.home(key, shift)
        owner = slots[slot, 0]
        while owner != key and owner != EMPTY:
            slot = (slot + 1) & mask
            owner = slots[slot, 0]
        if owner == EMPTY:
            if ghosts.used[table] == room:  # until the round is over
                ghosts.round_hits[table, BINS] += 1
                continue
            entry = start + ghosts.used[table]
            ghosts.used[table] += 1
            slots[slot, 0] = key
            slots[slot, 1] = entry
            ghosts.owner[entry], ghosts.bin[entry] = key, BINS
            ghosts.counts[entry], ghosts.age[entry] = 0.0, UNSEEN
        entry = slots[slot, 1]
        entries[known] = entry
        known += times[entry] == 0
        times[entry] += 1
    return known


@compiled
def _count(
    ghosts: Ghosts,
    table: int,
    entries: I64,
    times: I32,
    amount: F32,
    admission: float,
    worth: F64,
) -> None:
    """Count ids that occurred so many ``times``, which are 0 again afterwards."""
    covered, hits = ghosts.covered[table], ghosts.round_hits[table]
    bar, admits, entered = ghosts.bar[table], ghosts.admits[table], ghosts.entered[table]
    enough = np.float32(admission - 0.5)
    for entry in entries:
        often, times[entry] = times[entry], 0
        hits[ghosts.bin[entry]] += often
        counts, ages = ghosts.counts[entry], ghosts.age[entry]
        for k in range(amount.size):
            counts[k] += np.float32(often) * amount[k]
            age = ages[k]
            if age >= 0:
                older = min(age + often, AGES - 1)
                covered[k] += worth[older] - worth[age]
                covered[k] += (age + often - older) * (worth[AGES] - worth[AGES - 1])
                ages[k] = older
                continue
            if age == UNSEEN and counts[k] >= enough * amount[k]:
                age = ages[k] = READY
            if age == READY and admits[k] > 0 and counts[k] > bar[k]:
                admits[k] -= 1
                entered[k] += 1
                ages[k] = 0


@compiled
def index(ghosts: Ghosts, table: int) -> None:
    """Fill an empty id map of a table from its tracked ids."""
    start = ghosts.base[table]
    slots, shift = id_map.slots_of(ghosts.ids, table), ghosts.ids.shift[table]
    for entry in range(start, start + ghosts.used[table]):
        id_map.insert(slots, shift, ghosts.owner[entry], entry)
