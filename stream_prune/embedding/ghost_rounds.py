"""The end of a round of ghost caches: would-be sets are scored and chosen anew.

See :mod:`.ghosts` for what is kept and why.
"""

import numpy as np

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.ghosts import (
    BINS,
    F64,
    FULL,
    READY,
    RESTS,
    ROWS,
    TRACKED,
    UNSEEN,
    Ghosts,
    index,
)
from stream_prune.embedding.id_map import EMPTY, I64
from stream_prune.embedding.strongest import least_of_strongest, order


@compiled
def end_rounds(
    ghosts: Ghosts,
    tables: I64,
    factors: F64,
    hysteresis: F64,
    churn: float,
    memory: float,
    chosen: I64,
) -> None:
    """Of these tables score the sets, then make them those of the next round.

    Args:
        factors: [F, K], what the counts of each candidate are multiplied by to be those of now.
        memory: what the sums of earlier rounds count.
        chosen: [F], the candidate by which the coverage curve ranks ids.
    """
    for table in tables:
        _score(
            ghosts,
            table,
            factors[table],
            hysteresis[table],
            churn,
            memory,
        )
        _end_curve(ghosts, table, memory, chosen[table])
        if 4 * ghosts.used[table] > 3 * (ghosts.base[table + 1] - ghosts.base[table]):
            _forget(ghosts, table)


@compiled
def _score(
    ghosts: Ghosts,
    table: int,
    factors: F64,
    hysteresis: float,
    churn: float,
    memory: float,
) -> None:
    start, used, rows = ghosts.base[table], ghosts.used[table], ghosts.rows[table]
    stop = start + used
    full, judges = True, ghosts.judged[table] >= 0
    if judges:
        ghosts.judged[table] += 1
        ghosts.weight[table] = memory * ghosts.weight[table] + ghosts.seen[table]
    for k in range(factors.size):
        counts, age = ghosts.counts[start:stop, k], ghosts.age[start:stop, k]
        admitted, eligible = ghosts.entered[table, k], 0
        strength = np.empty(used, np.float32)
        for i in range(used):
            counts[i] *= np.float32(factors[k])
            if age[i] == UNSEEN:
                strength[i] = -1.0
            else:
                eligible += 1
                strength[i] = counts[i] * np.float32(hysteresis if age[i] >= 0 else 1.0)
        least = np.float32(-0.5)
        full &= eligible >= rows
        if eligible > rows:
            least = least_of_strongest(strength, rows)
        left = rows
        for i in range(used):
            left -= strength[i] > least
        for i in range(used):
            stays = strength[i] > least
            if not stays and strength[i] == least and left > 0:  # of equals the first ones
                stays, left = True, left - 1
            if stays and age[i] < 0:
                age[i] = 0
                admitted += 1
            elif not stays and age[i] >= 0:
                age[i] = READY
        # Free rows, or else as many of the weakest as a table lists for newcomers.
        ghosts.admits[table, k] = rows - eligible if eligible < rows else (rows + 3) // 4
        ghosts.bar[table, k] = max(least, np.float32(0.0)) if eligible >= rows else 0.0
        ghosts.entered[table, k] = 0
        if judges:
            value = ghosts.covered[table, k] - churn * admitted
            ghosts.value[table, k] = memory * ghosts.value[table, k] + value
        ghosts.covered[table, k] = 0.0
    if full and not judges:
        ghosts.judged[table] = 0
    if used <= rows and ghosts.round_hits[table, BINS] == 0:
        ghosts.idle[table] = RESTS


@compiled
def _end_curve(ghosts: Ghosts, table: int, memory: float, chosen: int) -> None:
    """Add the round's hits, and note how far up each id stands now."""
    start, used = ghosts.base[table], ghosts.used[table]
    # The sample has its share of the look-ups only on average, because a few ids make up many of
    # them; the difference is taken to be theirs.
    expected = ghosts.total[table] * ghosts.limit[table] / FULL
    ghosts.round_hits[table, 0] += expected - ghosts.seen[table]
    for place in range(BINS + 1):
        ghosts.hits[table, place] = (
            memory * ghosts.hits[table, place] + ghosts.round_hits[table, place]
        )
        ghosts.round_hits[table, place] = 0.0
    ghosts.seen[table], ghosts.total[table] = 0.0, 0.0
    ranked = order(ghosts.counts[start : start + used, chosen].copy())
    for rank in range(used):
        ghosts.bin[start + ranked[rank]] = rank_bin(rank)


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
    member = np.zeros(used, np.bool_)
    for i in range(used):
        for k in range(last + 1):
            member[i] |= ghosts.age[start + i, k] >= 0
    members = member.sum()
    contested = members > keep  # of members only some stay, else all of them and some others
    strength = np.empty(used, np.float32)
    for i in range(used):
        strength[i] = ghosts.counts[start + i, last] if member[i] == contested else -1.0
    left = keep if contested else keep - members
    least = least_of_strongest(strength, left) if left > 0 else np.float32(np.inf)
    for i in range(used):
        left -= strength[i] > least
    to = start
    for i in range(used):
        stays = (member[i] and not contested) or strength[i] > least
        if not stays and strength[i] == least and left > 0:  # of equals the first ones
            stays, left = True, left - 1
        if stays:
            ghosts.owner[to] = ghosts.owner[start + i]
            ghosts.bin[to] = ghosts.bin[start + i]
            for k in range(last + 1):
                ghosts.counts[to, k] = ghosts.counts[start + i, k]
                ghosts.age[to, k] = ghosts.age[start + i, k]
            to += 1
    ghosts.used[table] = keep
    ghosts.ids.slots[ghosts.ids.base[table] : ghosts.ids.base[table + 1]] = EMPTY
    index(ghosts, table)
