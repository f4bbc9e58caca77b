"""One look-up for all tables finds what a dictionary for each finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.artifact.row_index import RowIndex
from stream_prune.features import MISSING_ID

ids = st.integers(0, MISSING_ID)
tables = st.lists(st.lists(ids, unique=True, max_size=30), min_size=1, max_size=5)


def expected(known, asked):
    """Row by row: tables one after another, each with its cold row first."""
    rows, first = [], 0
    for table, wanted in zip(known, asked, strict=True):
        where = {key: first + 1 + at for at, key in enumerate(table)}
        rows += [where.get(key, first) for key in wanted]
        first += len(table) + 1
    return rows


@given(known=tables, seed=st.integers(0, 2**16), each=st.integers(0, 20), strangers=st.lists(ids))
def test_every_id_has_its_own_row_and_an_unknown_one_the_cold_row(known, seed, each, strangers):
    rng = np.random.default_rng(seed)
    index = RowIndex.of([np.array(table, np.int64) for table in known])
    # Ids of every table are asked of every other: where they are unknown, the cold row answers.
    pool = np.array([*strangers, *(key for table in known for key in table), 0], np.int64)
    asked = [rng.choice(pool, each) for _ in known]
    assert index.rows(np.concatenate(asked), each).tolist() == expected(known, asked)
    lengths = rng.integers(0, 9, len(known))
    asked = [rng.choice(pool, n) for n in lengths]
    assert index.rows(np.concatenate(asked), lengths).tolist() == expected(known, asked)


@pytest.mark.parametrize("stride", [1, 7, 2**20, 2**32, 2**40 + 2**11])
def test_ids_in_a_pattern_are_found_in_a_large_batch_too(stride):
    known = [(np.arange(5000) * stride) % MISSING_ID, np.arange(9), np.zeros(0, np.int64)]
    index = RowIndex.of(known)
    rng = np.random.default_rng(1)
    asked = [rng.choice(np.append(known[0], 3), 3000) for _ in known]
    assert index.rows(np.concatenate(asked), 3000).tolist() == expected(known, asked)
