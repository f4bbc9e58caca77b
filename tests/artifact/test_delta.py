"""Base and delta together are the whole artifact, bit for bit, whatever rows came and went."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.artifact import Scorer, read_manifest
from stream_prune.artifact.delta import (
    DELTA,
    ROWS,
    _changed,
    _changes,
    apply_delta,
    base_of,
    write_delta,
)
from stream_prune.artifact.format import verify
from stream_prune.artifact.stored_rows import NUMBERS, store
from stream_prune.errors import RunError

ids = st.lists(st.integers(0, 30), unique=True, max_size=12).map(sorted)


@given(old=ids, new=ids, kinds=st.tuples(*[st.sampled_from(NUMBERS)] * 2))
def test_what_changed_and_what_was_are_what_is_to_the_bit(old, new, kinds):
    before, after = table_of(old, kinds[0], seed=0), table_of(new, kinds[1], seed=1)
    for known in (before, None):  # None: a table that the base has not
        rows, found = _changed(_changes(*after, known), known)
        assert rows.dtype == after[0].dtype
        assert rows.tobytes() == after[0].tobytes()
        assert found.tolist() == new


def table_of(own, numbers, seed):
    """Rows and ids: the row of an odd id depends on the seed, and so do the cold ones."""
    draws = [np.random.default_rng([i, seed * (i % 2)]).normal(size=4) for i in own]
    cold = np.full((1 + seed, 4), seed)
    rows = np.concatenate([cold, *(draw[None] for draw in draws)]).astype(np.float32)
    return store(rows, numbers), np.array(own, np.int64)


@pytest.fixture(scope="module")
def steps(model, written, tmp_path_factory):
    """A base, and the model after one more step."""
    from small_model import raw_rows, trained

    later = trained()
    later.learn(raw_rows(4, seed=77))
    return written, later.write(tmp_path_factory.mktemp("later") / "m", step=6)


def test_few_changed_rows_make_a_small_delta_that_scores_as_the_whole(steps, tmp_path):
    base, whole = steps
    size = write_delta(whole, base, tmp_path / "delta")
    rows = (tmp_path / "delta" / ROWS).stat().st_size
    assert rows < (whole / "tables.safetensors").stat().st_size / 2
    assert size == sum(path.stat().st_size for path in (tmp_path / "delta").iterdir())
    assert base_of(tmp_path / "delta") == read_manifest(base).digest
    apply_delta(tmp_path / "delta", base, tmp_path / "made")
    assert verify(tmp_path / "made") == read_manifest(whole)
    for path in whole.iterdir():
        assert (tmp_path / "made" / path.name).read_bytes() == path.read_bytes()
    assert Scorer.load(tmp_path / "made").check_example() < 1e-5


def test_another_base_and_a_damaged_delta_are_refused(steps, tmp_path):
    base, whole = steps
    write_delta(whole, base, tmp_path / "delta")
    with pytest.raises(RunError, match="is a delta of the artifact"):
        apply_delta(tmp_path / "delta", whole, tmp_path / "made")
    changes = tmp_path / "delta" / ROWS
    changes.write_bytes(changes.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(RunError, match=r"delta\.safetensors: has changed"):
        apply_delta(tmp_path / "delta", base, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    with pytest.raises(RunError, match=f"{DELTA}: is missing"):
        base_of(base)
