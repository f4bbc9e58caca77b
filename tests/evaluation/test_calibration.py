"""Calibration: groups of rising scores, and how far their scores lie from their rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.evaluation.auc import StreamAuc
from stream_prune.evaluation.calibration import ece, reliability

scores_of_rows = st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=200)


@given(scores_of_rows, st.integers(1, 20), st.randoms(use_true_random=False))
def test_groups_hold_every_row_once_and_do_not_depend_on_the_order(scores, bins, random):
    p = np.array(scores, np.float32)
    y = np.array([random.random() < 0.4 for _ in scores], np.float32)
    found = reliability(y, p, bins)
    assert found.rows.sum() == len(p)
    assert (found.rows > 0).all()
    assert len(found.rows) <= bins
    assert (np.diff(found.score) > 0).all()
    assert (found.rows * found.rate).sum() == pytest.approx(y.sum())
    order = np.random.default_rng(0).permutation(len(p))
    assert ece(y[order], p[order], bins) == pytest.approx(ece(y, p, bins), abs=1e-9)


def test_a_calibrated_model_has_a_small_error_and_one_that_is_off_by_a_tenth_has_a_tenth():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 0.8, 200_000)
    y = (rng.random(len(p)) < p).astype(np.float64)
    assert ece(y, p) < 0.006
    assert ece(y, p + 0.1) == pytest.approx(0.1, abs=0.006)


def test_the_stream_s_groups_are_those_of_all_rows_at_once():
    rng = np.random.default_rng(2)
    p = rng.beta(1, 12, 30_000)
    y = (rng.random(len(p)) < 1.3 * p).astype(np.float64)
    stream = StreamAuc()
    for part in np.split(np.arange(len(p)), 30):
        stream.add(y[part], p[part])
    found, exact = stream.reliability(), reliability(y, p)
    assert found.ece == pytest.approx(exact.ece, abs=2e-3)
    assert found.score == pytest.approx(exact.score, abs=2e-3)
    assert found.rows.sum() == len(p)


def test_without_rows_there_is_no_error():
    assert ece(np.empty(0), np.empty(0)) is None
    assert StreamAuc().reliability().ece is None
