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

from stream_prune.embedding import id_map
from stream_prune.embedding.compiled import compiled
from stream_prune.embedding.id_map import EMPTY, I64, IdMap

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

ROWS = 64  # rows of a would-be set, at most; the sample is chosen for it
TRACKED = 8  # ids that are counted, for each row of a would-be set
BINS = 32  # of the coverage curve; up to TRACKED * ROWS ranks
AGES = 1024  # ages that are told apart
RESTS = 8  # rounds that a table sits out in which every id had its row
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF, _TOP = np.uint64(32), np.uint64(40)
_FULL = 1 << 24  # all of the sampling hash's values
_FILLING = -1  # a would-be set still has room, so nothing is to be judged
_UNSEEN, _READY = -2, -1  # ages of ids outside of a set: not seen often enough yet, or often enough


class Ghosts(NamedTuple):
    """F tables, K candidates, E tracked ids (those of table f at ``base[f] : base[f + 1]``).

    ``age`` [E, K] is the look-ups of an id since it entered a would-be set, or negative; ``bin``
    [E] says how far up it stood at the end of the last round, by the candidate in force. ``value``
    [F, K] and ``weight`` [F] are decayed sums over rounds, of the matured hits less churn and of
    the look-ups, over the ``judged`` [F] rounds; ``hits`` [F, BINS + 1] of the look-ups by rank,
    those of untracked ids last. ``admits`` [F, K] newcomers may still enter a set before the round
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
    return capacity >> halvings, _FULL >> halvings


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
        age=np.full((entries, candidates), _UNSEEN, np.int32),
        bin=np.full(entries, BINS, np.int8),
        base=base,
        used=np.zeros(tables, np.int64),
        limit=np.array([limit for _, limit in sampled], np.int64),
        rows=rows,
        origin=np.zeros(tables),
        seen=np.zeros(tables),
        total=np.zeros(tables),
        covered=np.zeros((tables, candidates)),
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
    """What a hit counts by the row's age [AGES]; older rows count as the oldest of these."""
    ages = np.arange(AGES)
    return ages / (ages + maturity)


@compiled
def _enter(admits: I64, entered: I64, candidate: int) -> int:
    """The age of an id that has just been seen often enough."""
    if admits[candidate] == 0:
        return _READY
    admits[candidate] -= 1
    entered[candidate] += 1
    return 0


@compiled
def observe(
    ghosts: Ghosts, keys: I64, spans: I64, increment: F32, admission: F64, worth: F64
) -> None:
    """Count a batch, laid out as for :func:`.id_map.lookup`; ``increment`` [F, K]."""
    slots, counts, ages = ghosts.ids.slots, ghosts.counts, ghosts.age
    candidates = counts.shape[1]
    for table in range(ghosts.rows.size):
        if ghosts.rows[table] == 0 or ghosts.idle[table] > 0:
            continue
        limit, start = ghosts.limit[table], ghosts.base[table]
        room = ghosts.base[table + 1] - start
        base = ghosts.ids.base[table]
        mask, shift = ghosts.ids.base[table + 1] - base - 1, ghosts.ids.shift[table]
        amount, enough = increment[table], np.float32(admission[table] - 0.5)
        covered, hits = ghosts.covered[table], ghosts.round_hits[table]
        admits, entered = ghosts.admits[table], ghosts.entered[table]
        seen = 0
        for i in range(spans[table], spans[table + 1]):
            key = keys[i]
            bits = np.uint64(key)
            if np.int64(((bits ^ (bits >> _HALF)) * _MIX) >> _TOP) >= limit:
                continue
            seen += 1
            slot = id_map.home(key, shift)
            owner = slots[base + slot, 0]
            while owner != key and owner != EMPTY:
                slot = (slot + 1) & mask
                owner = slots[base + slot, 0]
            if owner == EMPTY:
                hits[BINS] += 1
                if ghosts.used[table] == room:
                    continue  # until the round is over
                entry = start + ghosts.used[table]
                ghosts.used[table] += 1
                slots[base + slot, 0] = key
                slots[base + slot, 1] = entry
                ghosts.owner[entry], ghosts.bin[entry] = key, BINS
                for k in range(candidates):
                    counts[entry, k] = amount[k]
                    ages[entry, k] = _UNSEEN
                    if enough < 1:
                        ages[entry, k] = _enter(admits, entered, k)
                continue
            entry = slots[base + slot, 1]
            hits[ghosts.bin[entry]] += 1
            for k in range(candidates):
                counts[entry, k] += amount[k]
                age = ages[entry, k]
                if age >= 0:
                    covered[k] += worth[age]
                    ages[entry, k] = min(age + 1, AGES - 1)
                elif age == _UNSEEN and counts[entry, k] >= enough * amount[k]:
                    ages[entry, k] = _enter(admits, entered, k)
        ghosts.seen[table] += seen
        ghosts.total[table] += spans[table + 1] - spans[table]


@compiled
def end_round(
    ghosts: Ghosts,
    table: int,
    factors: F64,
    hysteresis: float,
    admission: float,
    churn: float,
    memory: float,
    chosen: int,
) -> None:
    """Score the sets, then make them those of the next round.

    Args:
        factors: [K], what the counts of each candidate are multiplied by to be those of now.
        memory: what the sums of earlier rounds count.
        chosen: the candidate by which the coverage curve ranks ids.
    """
    start, used, rows = ghosts.base[table], ghosts.used[table], ghosts.rows[table]
    stop = start + used
    full, judges = True, ghosts.judged[table] >= 0
    if judges:
        ghosts.judged[table] += 1
        ghosts.weight[table] = memory * ghosts.weight[table] + ghosts.seen[table]
    for k in range(factors.size):
        counts, age = ghosts.counts[start:stop, k], ghosts.age[start:stop, k]
        admitted, eligible = ghosts.entered[table, k], 0
        strength = np.empty(used)
        for i in range(used):
            counts[i] *= np.float32(factors[k])
            if age[i] == _UNSEEN:
                strength[i] = -1.0
            else:
                eligible += 1
                strength[i] = counts[i] * (hysteresis if age[i] >= 0 else 1.0)
        least = -0.5
        full &= eligible >= rows
        if eligible > rows:
            least = np.partition(strength, used - rows)[used - rows]
        left = rows
        for i in range(used):
            left -= strength[i] > least
        weak = 0
        for i in range(used):
            stays = strength[i] > least
            if not stays and strength[i] == least and left > 0:  # of equals the first ones
                stays, left = True, left - 1
            if stays and age[i] < 0:
                age[i] = 0
                admitted += 1
            elif not stays and age[i] >= 0:
                age[i] = _READY
            weak += stays and counts[i] * hysteresis < admission - 0.5
        ghosts.admits[table, k] = max(0, rows - eligible) + min(weak, (rows + 3) // 4)
        ghosts.entered[table, k] = 0
        if judges:
            value = ghosts.covered[table, k] - churn * admitted
            ghosts.value[table, k] = memory * ghosts.value[table, k] + value
        ghosts.covered[table, k] = 0.0
    if full and not judges:
        ghosts.judged[table] = 0
    if used <= rows and ghosts.round_hits[table, BINS] == 0:
        ghosts.idle[table] = RESTS
    _end_curve(ghosts, table, memory, chosen)
    if 4 * used > 3 * (ghosts.base[table + 1] - start):
        _forget(ghosts, table)


@compiled
def _end_curve(ghosts: Ghosts, table: int, memory: float, chosen: int) -> None:
    """Add the round's hits, and note how far up each id stands now."""
    start, used = ghosts.base[table], ghosts.used[table]
    # The sample has its share of the look-ups only on average, because a few ids make up many of
    # them; the difference is taken to be theirs.
    expected = ghosts.total[table] * ghosts.limit[table] / _FULL
    ghosts.round_hits[table, 0] += expected - ghosts.seen[table]
    for place in range(BINS + 1):
        ghosts.hits[table, place] = (
            memory * ghosts.hits[table, place] + ghosts.round_hits[table, place]
        )
        ghosts.round_hits[table, place] = 0.0
    ghosts.seen[table], ghosts.total[table] = 0.0, 0.0
    order = np.argsort(-ghosts.counts[start : start + used, chosen])
    for rank in range(used):
        ghosts.bin[start + order[rank]] = rank_bin(rank)


@compiled
def rank_bin(rank: int) -> int:
    """Ranks 0, 1, 2, 3 have a bin each, after that four bins share a doubling."""
    if rank < 4:
        return rank
    power = 2
    while rank >> (power + 1):
        power += 1
    return min(BINS - 1, 4 * (power - 1) + ((rank >> (power - 2)) & 3))


def bin_ends() -> I64:
    """The number of ranks up to the end of each bin [BINS]."""
    bins = np.array([rank_bin(rank) for rank in range(2 * ROWS * TRACKED)])
    return np.searchsorted(bins, np.arange(BINS), side="right").astype(np.int64)


@compiled
def _forget(ghosts: Ghosts, table: int) -> None:
    """Keep half as many ids as there is room for: members, then those with the most sightings.

    By the longest half-life, in which a sighting of today still counts more than one of yesterday.
    """
    start, used = ghosts.base[table], ghosts.used[table]
    last = ghosts.counts.shape[1] - 1
    keep = (ghosts.base[table + 1] - start) // 2
    strength = np.empty(used)
    for i in range(used):
        strength[i] = ghosts.counts[start + i, last]
        for k in range(last + 1):
            if ghosts.age[start + i, k] >= 0:
                strength[i] += 1e12
                break
    best = np.sort(np.argsort(-strength)[:keep])
    for to in range(keep):
        ghosts.owner[start + to] = ghosts.owner[start + best[to]]
        ghosts.bin[start + to] = ghosts.bin[start + best[to]]
        for k in range(last + 1):
            ghosts.counts[start + to, k] = ghosts.counts[start + best[to], k]
            ghosts.age[start + to, k] = ghosts.age[start + best[to], k]
    ghosts.used[table] = keep
    ghosts.ids.slots[ghosts.ids.base[table] : ghosts.ids.base[table + 1]] = EMPTY
    index(ghosts, table)


@compiled
def index(ghosts: Ghosts, table: int) -> None:
    """Fill an empty id map of a table from its tracked ids."""
    start = ghosts.base[table]
    for entry in range(start, start + ghosts.used[table]):
        id_map.insert(ghosts.ids, table, ghosts.owner[entry], entry)
