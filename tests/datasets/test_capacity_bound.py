from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from stream_prune.datasets import capacity_bound
from stream_prune.datasets.capacity_bound import SPEC, Settings, block, drifts, teacher
from stream_prune.datasets.known_truth import BAYES, BLOCK, bayes_ne, logistic

STREAM = Settings(events=100_000)


@pytest.fixture(scope="module")
def events() -> pa.Table:
    blocks = [block(STREAM, number) for number in range(-(-STREAM.events // BLOCK))]
    return pa.concat_tables(blocks).slice(0, STREAM.events)


def _inputs(events: pa.Table) -> np.ndarray:
    return np.stack([events[column.name].to_numpy() for column in SPEC.dense])


def _loss(events: pa.Table, p: np.ndarray) -> np.ndarray:
    label = events["label"].to_numpy()
    return -np.where(label == 1, np.log(p), np.log(1 - p))


def test_the_bayes_ne_is_the_stated_one_before_and_after_every_drift(events) -> None:
    p = events[BAYES].to_numpy()
    bounds = [0, *(drift.start for drift in drifts(STREAM)), STREAM.events]
    assert bounds == [0, 40_000, 60_000, 80_000, 100_000]
    for start, end in pairwise(bounds):
        assert bayes_ne(p[start:end]) == pytest.approx(0.521, abs=0.012)


def test_inputs_are_independent_standard_gaussians_and_the_category_says_nothing(events) -> None:
    x = _inputs(events)
    assert np.abs(np.cov(x) - np.eye(16)).max() < 0.03
    assert np.abs(x.mean(axis=1)).max() < 0.02
    assert events["constant"].unique().to_pylist() == [0]


def test_a_fixed_model_loses_at_each_drift_and_at_no_other_time(events) -> None:
    x, p = _inputs(events), events[BAYES].to_numpy()
    for number, drift in enumerate(drifts(STREAM)):
        fixed = logistic(teacher(STREAM.seed, number).log_odds(x))
        begun = drifts(STREAM)[number - 1].start if number else 0
        np.testing.assert_allclose(fixed[begun : drift.start], p[begun : drift.start], atol=1e-5)
        regret = _loss(events, fixed) - _loss(events, p)
        assert regret[drift.start : drift.start + 5_000].mean() > 0.1


def test_half_of_the_units_of_each_layer_are_replaced_at_a_drift() -> None:
    before, after = teacher(STREAM.seed, 1), teacher(STREAM.seed, 2)
    kept_inner = (before.inner == after.inner).all(axis=1)
    kept_last = before.last == after.last
    assert kept_inner.sum() == kept_last.sum() == 48
    between = before.outer[:, :-1] == after.outer[:, :-1]
    np.testing.assert_array_equal(between, np.outer(kept_last, kept_inner))
    np.testing.assert_array_equal(before.outer[:, -1] == after.outer[:, -1], kept_last)


def test_the_full_stream_drifts_at_forty_sixty_and_eighty_percent() -> None:
    starts = [drift.start for drift in capacity_bound.drifts(Settings())]
    assert starts == [600_000, 900_000, 1_200_000]
