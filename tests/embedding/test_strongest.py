"""The strongest of a few hundred counts, beside NumPy's sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.embedding.strongest import least_of_strongest, order

counts = st.lists(
    st.one_of(st.just(-1.0), st.integers(0, 9).map(float), st.floats(0.0, 1e6, width=32)),
    min_size=2,
    max_size=80,
).map(lambda values: np.array(values, np.float32))


@given(counts, st.data())
def test_the_last_of_the_strongest_is_the_one_that_a_sort_finds(values, data):
    rows = data.draw(st.integers(1, values.size - 1))
    assert least_of_strongest(values, rows) == np.sort(values)[::-1][rows - 1]


@given(counts)
def test_the_order_is_a_stable_sort_down_to_a_tiny_part_of_the_strongest(values):
    found = order(values)
    assert sorted(found.tolist()) == list(range(values.size))
    known = int((values > values.max() * 2.0**-30).sum())
    expected = np.argsort(-values, kind="stable")
    assert found[:known].tolist() == expected[:known].tolist()
