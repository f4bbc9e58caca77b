"""Coverage of one column's rows by well-known cache policies, and by the tables' own row set.

Each policy sees the ids one by one and answers whether it held them; the tables see batches, find
what they hold before the batch is counted, and let rows change hands every four batches. The others
are short readings of their papers, for their hit ratio alone: LRU and LFU (counts for ever), SIEVE
(Zhang et al., NSDI 2024), S3-FIFO (Yang et al., SOSP 2023: a tenth for the small queue, a ghost
queue as long as the main one) and W-TinyLFU (Einziger et al., ACM ToS 2017: a hundredth for the
window; exact counts, halved every ten capacities, in place of its sketch; an LRU as main cache).
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from compare_rows.contenders import WHOLE
from compare_rows.streams import ROWS, WINDOW, Stream
from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.config import HALF_LIVES

COLUMNS = 3
"""Columns of a log that are compared: LFU is slow where there are many rows."""


def lru(ids: list[int], capacity: int) -> Iterator[bool]:
    held: OrderedDict[int, None] = OrderedDict()
    for key in ids:
        yield key in held
        held[key] = None
        held.move_to_end(key)
        if len(held) > capacity:
            held.popitem(last=False)


def lfu(ids: list[int], capacity: int) -> Iterator[bool]:
    """Whoever was seen most often so far is held; of equals who came last."""
    counts: Counter[int] = Counter()
    held: set[int] = set()
    for key in ids:
        yield key in held
        counts[key] += 1
        if key not in held:
            held.add(key)
            if len(held) > capacity:
                held.remove(min(held - {key}, key=counts.__getitem__, default=key))


def sieve(ids: list[int], capacity: int) -> Iterator[bool]:
    """A queue from old to new; the hand passes who was visited, and evicts who was not."""
    queue: list[int] = []
    visited: dict[int, bool] = {}
    hand = 0
    for key in ids:
        yield key in visited
        if key in visited:
            visited[key] = True
            continue
        if len(queue) >= capacity:
            hand %= len(queue)
            while visited[queue[hand]]:
                visited[queue[hand]] = False
                hand = (hand + 1) % len(queue)
            del visited[queue.pop(hand)]
        queue.append(key)
        visited[key] = False


def s3_fifo(ids: list[int], capacity: int) -> Iterator[bool]:
    small: deque[int] = deque()
    main: deque[int] = deque()
    ghost: OrderedDict[int, None] = OrderedDict()
    often: dict[int, int] = {}
    first = max(1, capacity // 10)
    for key in ids:
        yield key in often
        if key in often:
            often[key] = min(3, often[key] + 1)
            continue
        while len(small) + len(main) >= capacity:
            if len(small) >= first or not main:
                old = small.popleft()
                if often[old] > 0:
                    main.append(old)
                    often[old] = 0
                else:
                    del often[old]
                    ghost[old] = None
                    if len(ghost) > capacity - first:
                        ghost.popitem(last=False)
            else:
                old = main.popleft()
                if often[old] > 0:
                    often[old] -= 1
                    main.append(old)
                else:
                    del often[old]
        (main if ghost.pop(key, key) is None else small).append(key)
        often[key] = 0


def w_tinylfu(ids: list[int], capacity: int) -> Iterator[bool]:
    window: OrderedDict[int, None] = OrderedDict()
    main: OrderedDict[int, None] = OrderedDict()
    counts: Counter[int] = Counter()
    first = max(1, capacity // 100)
    for place, key in enumerate(ids):
        yield key in window or key in main
        counts[key] += 1
        if place % (10 * capacity) == 0:
            counts = Counter({k: n // 2 for k, n in counts.items() if n > 1})
        if key in main:
            main.move_to_end(key)
            continue
        window[key] = None
        window.move_to_end(key)
        if len(window) > first:
            candidate, _ = window.popitem(last=False)
            if len(main) >= capacity - first:
                victim = next(iter(main), candidate)
                if counts[candidate] <= counts[victim]:
                    continue
                main.pop(victim, None)
            main[candidate] = None


POLICIES = {"LRU": lru, "LFU": lfu, "SIEVE": sieve, "S3-FIFO": s3_fifo, "W-TinyLFU": w_tinylfu}


def own_coverage(config: TableConfig, ids: np.ndarray, warm_up: int) -> float:
    """Share of the look-ups after ``warm_up`` whose id owned a row when its batch began."""
    tables = EmbeddingTables([config], 4, lr=0.1)
    found = []
    for place, batch in enumerate(np.split(ids, range(ROWS, ids.size, ROWS))):
        found.append(tables.lookup(batch) >= tables.tables[config.name].cold_rows)
        tables.admit(batch)
        if place % WINDOW == WINDOW - 1:
            tables.adapt()
    return float(np.concatenate(found)[warm_up:].mean())


def held_at_batches(policy: str, ids: np.ndarray, capacity: int, warm_up: int) -> float:
    """The same of what a policy held, as a model that scores a batch sees it."""
    found = np.fromiter(POLICIES[policy](ids.tolist(), capacity), np.bool_, ids.size)
    # Within a batch only an id's first look-up tells what was held before; its others follow it.
    parts = []
    for start in range(0, ids.size, ROWS):
        part, hit = ids[start : start + ROWS], found[start : start + ROWS]
        _, first, each = np.unique(part, return_index=True, return_inverse=True)
        parts.append(hit[first][each])
    return float(np.concatenate(parts)[warm_up:].mean())


def of_column(ids: np.ndarray, capacity: int, warm_up: int) -> dict[str, float]:
    """Coverage by policy, the tables' own at the default and at learned half-lives."""
    found = {name: held_at_batches(name, ids, capacity, warm_up) for name in POLICIES}
    fixed = TableConfig("column", capacity, admission=1)
    found["own rows"] = own_coverage(fixed, ids, warm_up)
    found["own rows, learned"] = own_coverage(replace(fixed, half_lives=HALF_LIVES), ids, warm_up)
    return found


def compared(stream: Stream, share: float, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The same of a log's first columns that are cut, at a share of their rows."""
    made: list[dict[str, Any]] = []
    for field, (column, ids) in enumerate(
        zip(stream.spec.categorical, stream.distinct, strict=True)
    ):
        if ids <= WHOLE or len(made) == COLUMNS:
            continue
        warm_up = stream.warm_up * ROWS
        found = of_column(stream.column(field), int(share * ids), warm_up)
        made.append(
            {"log": stream.log.name, "column": column.name, "share": share, "coverage": found}
        )
        told = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        say(f"{stream.log.name:10} {share:5.0%} {column.name}: {told}")
    return made
