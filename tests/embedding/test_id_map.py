"""The open-addressing maps beside dicts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.embedding.id_map import empty_map, find, insert, lookup, remove, slots_of

CAPACITY = 8
# Ids that differ in high bits or low ones only, and the extremes.
KEYS = [*range(12), *(k << 50 for k in range(1, 12)), 2**63 - 1, 2**63 - 2]
moves = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(KEYS)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(moves)
def test_maps_find_what_was_inserted_and_nothing_that_was_removed(sequence):
    ids = empty_map(np.array([CAPACITY, CAPACITY]))
    expected: list[dict[int, int]] = [{}, {}]
    for place, (table, key) in enumerate(sequence):
        if key in expected[table]:
            remove(slots_of(ids, table), ids.shift[table], key)
            del expected[table][key]
        elif len(expected[table]) < CAPACITY:
            insert(slots_of(ids, table), ids.shift[table], key, 100 + place)
            expected[table][key] = 100 + place
        rows = np.empty(2 * len(KEYS), np.int64)
        spans = np.array([0, len(KEYS), 2 * len(KEYS)])
        lookup(ids, np.tile(np.array(KEYS), 2), spans, np.array([0, 1]), np.ones(2, np.int64), rows)
        wanted = [expected[table].get(key, table) for table in (0, 1) for key in KEYS]
        assert rows.tolist() == wanted


def test_a_full_map_of_one_or_none_still_answers():
    ids = empty_map(np.array([0, 1]))
    (none, one), (no_shift, shift) = (slots_of(ids, table) for table in (0, 1)), ids.shift
    insert(one, shift, 5, 7)
    assert find(none, no_shift, 5) == -1
    assert find(one, shift, 6) == -1
    assert one[find(one, shift, 5), 1] == 7
