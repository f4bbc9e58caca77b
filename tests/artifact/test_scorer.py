"""An artifact scores as the trainer does, without torch and without unpickling."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_model import SINGLE, raw_rows, trained

from stream_prune.artifact import Scorer
from stream_prune.errors import RunError
from stream_prune.features import MISSING_ID

words = st.one_of(st.none(), st.text(max_size=3), st.sampled_from([f"c{i}" for i in range(12)]))
tails = st.one_of(st.none(), st.integers(0, 200), st.integers(0, 2**63 - 2))
floats = st.floats(-1e6, 1e6, width=32)
rows = st.fixed_dictionaries(
    {
        "distance": st.one_of(st.none(), floats),
        "hour": st.integers(-5, 40),
        "wind": floats,
        "carrier": words,
        "tail": tails,
        "tags": st.one_of(st.none(), st.lists(st.sampled_from([f"t{i}" for i in range(60)]))),
    }
)


@pytest.fixture(scope="module")
def scorer(written):
    return Scorer.load(written)


def table(values):
    return pa.Table.from_pylist(values, schema=raw_rows(1).schema)


@given(values=st.lists(rows, min_size=1, max_size=9))
def test_scores_are_the_trainers_to_float32_rounding(values, model, scorer):
    raw = table(values)
    expected = model.score(raw)
    np.testing.assert_allclose(scorer.score(raw), expected, atol=2e-6)
    np.testing.assert_allclose(scorer.score(raw.to_pydict()), expected, atol=2e-6)


@given(value=rows)
def test_a_row_alone_scores_as_it_does_among_others(value, scorer):
    others = raw_rows(5)
    among = scorer.score(pa.concat_tables([others, table([value])]))[-1]
    alone = scorer.score({name: [item] for name, item in value.items()})[0]
    assert alone == pytest.approx(among, abs=2e-6)


def test_known_and_unknown_ids_score_differently(model, scorer):
    """So that the tests above do not only see cold rows."""
    known = [i for i in model.tables.tables["tail"].ids() if i != MISSING_ID]
    assert len(known) > 10
    raw = raw_rows(1).to_pydict()
    scores = [scorer.score({**raw, "tail": [int(i)]})[0] for i in known[:10]]
    stranger = scorer.score({**raw, "tail": [2**61]})[0]
    assert all(score != stranger for score in scores)


def test_a_head_without_dense_columns_or_bags_scores_as_the_trainer_does(tmp_path):
    model = trained(seed=3, spec=SINGLE)
    scorer = Scorer.load(model.write(tmp_path / "m"))
    raw = raw_rows(50, seed=5)
    np.testing.assert_allclose(scorer.score(raw), model.score(raw), atol=2e-6)


def test_the_example_scores_as_stored(scorer):
    rows, scores = scorer.example()
    assert rows.column_names == list(scorer.card.spec.inputs)
    assert len(scores) == 32
    assert scorer.check_example() < 1e-6


def test_an_example_that_scores_otherwise_is_an_error(scorer, monkeypatch):
    rows, scores = scorer.example()
    monkeypatch.setattr(scorer, "example", lambda: (rows, scores + 1e-3))
    with pytest.raises(RunError, match="scores its example differently"):
        scorer.check_example()
    monkeypatch.setattr(scorer, "example", lambda: (rows, scores * np.nan))
    with pytest.raises(RunError, match="scores its example differently"):
        scorer.check_example()


def test_threads_share_a_scorer(scorer):
    from concurrent.futures import ThreadPoolExecutor

    raws = [raw_rows(7, seed=s) for s in range(16)]
    expected = [scorer.score(raw).tolist() for raw in raws]
    with ThreadPoolExecutor(4) as pool:
        assert [s.tolist() for s in pool.map(scorer.score, raws)] == expected


def test_scoring_needs_neither_torch_nor_mlflow(written):
    program = f"""
        import sys
        for name in ("torch", "mlflow", "apache_beam", "kafka", "river"):
            sys.modules[name] = None
        from stream_prune.artifact import Scorer
        scorer = Scorer.load({str(written)!r})
        rows, scores = scorer.example()
        assert scorer.check_example() < 1e-6
        print(len(scorer.score(rows.slice(0, 1).to_pydict())))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("1", "")


def test_loading_and_scoring_unpickle_nothing(written, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("unpickled")

    for owner, name in (
        (pickle, "loads"),
        (pickle, "load"),
        (pickle, "Unpickler"),
        (torch, "load"),
    ):
        monkeypatch.setattr(owner, name, forbidden)
    monkeypatch.setattr(np.lib.format, "read_array", forbidden)
    scorer = Scorer.load(written)
    scorer.check_example()
    scorer.score(raw_rows(3))
