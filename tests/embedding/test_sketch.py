"""Counts of ids without a row: never too low, hardly too high, in memory that stays as it is."""

import numpy as np

from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.row_cache import RowCache
from stream_prune.embedding.sketch import add, cells_of, empty_sketch, raise_to


def test_an_estimate_is_never_too_low_and_seldom_too_high():
    generator = np.random.default_rng(0)
    keys = generator.zipf(1.2, size=30_000) % 100_000
    keys[::3] = generator.integers(0, 2**62, size=10_000)  # a third is seen once
    sketch = empty_sketch(np.array([20_000.0]))
    blocks = cells_of(sketch, 0)
    true: dict[int, int] = {}
    too_high = 0
    for key in keys.tolist():
        true[key] = true.get(key, 0) + 1
        estimate = add(blocks, sketch.shift[0], key, 1.0)
        assert estimate >= true[key]
        too_high += estimate > true[key] + 0.5
    assert too_high < 0.02 * len(keys)


def test_an_evicted_id_keeps_its_count():
    sketch = empty_sketch(np.array([100.0, 100.0]))
    first, second = cells_of(sketch, 0), cells_of(sketch, 1)
    raise_to(second, sketch.shift[1], 42, 9.0)
    assert add(second, sketch.shift[1], 42, 1.0) == 10.0
    assert add(first, sketch.shift[0], 42, 1.0) == 1.0


def test_a_stream_of_ever_new_ids_leaves_memory_as_it_was():
    cache = RowCache([TableConfig("t", 1000, half_life=500)])

    def held() -> int:
        arrays = [*cache.rows, *cache.rows.ids, *cache.rows.sketch]
        return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))

    before, spans = held(), np.array([0, 20_000])
    for start in range(0, 1_000_000, 10_000):
        fresh = np.arange(start, start + 10_000)
        cache.admit(np.concatenate([fresh, fresh]), spans, 20_000)
        cache.contest()
    assert held() == before
    assert cache.rows.used[0] == 1000
    assert cache.rows.evictions[0] > 0
