import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.errors import ConfigError
from stream_prune.evaluation.auc import auc
from stream_prune.evaluation.entropy import base_entropy, losses, normalized_entropy
from stream_prune.evaluation.prequential import Prequential

row = st.tuples(st.sampled_from([0.0, 1.0, math.nan]), st.floats(0, 1, width=32))
windows_of_rows = st.lists(st.lists(row, max_size=12), min_size=1, max_size=8)


def arrays(window: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([label for label, _ in window], np.float32),
        np.array([score for _, score in window], np.float32),
    )


def test_always_answering_the_base_rate_has_a_normalized_entropy_of_one():
    labels = np.array([1] * 30 + [0] * 70, np.float32)
    record = Prequential().add(labels, np.full(100, 0.3, np.float32))
    assert record["ne"] == pytest.approx(1.0, abs=1e-6)
    assert record["ne_cumulative"] == pytest.approx(1.0, abs=1e-6)
    assert record["calibration"] == pytest.approx(1.0, abs=1e-6)
    assert record["auc"] == 0.5


def test_a_certain_wrong_answer_costs_a_finite_loss():
    assert losses(np.array([1.0]), np.array([0.0]))[0] == pytest.approx(-math.log(1e-7))


def test_normalized_entropy_is_undefined_without_both_classes():
    assert normalized_entropy(0.5, positives=0, rows=10) is None
    assert normalized_entropy(0.5, positives=10, rows=10) is None
    assert base_entropy(0, 0) == 0.0


@given(windows_of_rows, st.integers(0, 40))
def test_running_figures_equal_those_of_all_rows_at_once(windows, from_rows):
    prequential = Prequential(sliding_rows=10, from_rows=from_rows)
    for window in windows:
        prequential.add(*arrays(window))
    summary = prequential.summary()

    labels, scores = arrays([row for window in windows for row in window])
    known = ~np.isnan(labels)
    y, p = labels[known], scores[known]
    assert summary["rows"] == len(labels)
    assert summary["labelled"] == len(y)
    for suffix, part in (("", slice(None)), ("_after_warmup", slice(from_rows, None))):
        if not len(y[part]):
            assert summary["logloss" + suffix] is None
            continue
        logloss = losses(y[part], p[part]).mean()
        ne = normalized_entropy(logloss, int(y[part].sum()), len(y[part]))
        assert summary["logloss" + suffix] == pytest.approx(logloss)
        assert summary["ne" + suffix] == (None if ne is None else pytest.approx(ne))
        exact = auc(y[part], p[part])
        if exact is None:
            assert summary["auc" + suffix] is None
        else:
            error = summary["auc" + suffix + "_error"]
            assert abs(summary["auc" + suffix] - exact) <= error + 1e-12
    last = slice(max(0, len(y) - 10), None)
    assert summary["sliding_auc"] == (auc(y[last], p[last]) if len(y) else None)


@given(windows_of_rows, windows_of_rows)
def test_a_restored_evaluation_goes_on_bit_for_bit(before, after):
    first = Prequential(sliding_rows=7, sliding_every=2, from_rows=5)
    for window in before:
        first.add(*arrays(window))
    second = Prequential(sliding_rows=7, sliding_every=2, from_rows=5)
    second.load_state_dict(first.state_dict())
    for window in after:
        assert first.add(*arrays(window)) == second.add(*arrays(window))
    assert first.summary() == second.summary()


def test_unlabelled_rows_are_counted_and_not_judged():
    prequential = Prequential()
    labels = np.array([1, math.nan, 0], np.float32)
    record = prequential.add(labels, np.array([0.9, 0.9, 0.1], np.float32))
    assert (record["rows"], record["labelled"], record["positives"]) == (3, 2, 1)
    assert record["auc"] == 1.0


def test_a_window_without_labels_has_no_figures():
    record = Prequential().add(np.full(2, math.nan, np.float32), np.array([0.1, 0.2], np.float32))
    assert (record["ne"], record["auc"], record["logloss"]) == (None, None, None)


def test_what_is_no_probability_is_refused():
    for bad in (math.nan, 1.5, -0.1):
        with pytest.raises(ValueError, match="probabilities"):
            Prequential().add(np.ones(1, np.float32), np.array([bad], np.float32))


def test_settings_out_of_range_are_refused_by_name():
    with pytest.raises(ConfigError, match="sliding_every = 0: must be 1 or more"):
        Prequential(sliding_every=0)


def test_the_figures_of_a_window_are_those_that_one_computes_by_hand():
    labels = np.array([1, 0, 1, 0], np.float32)
    scores = np.array([0.6, 0.6, 0.9, 0.1], np.float32)
    prequential = Prequential(sliding_rows=4, sliding_every=2)
    first = prequential.add(labels, scores)
    logloss = -np.log([0.6, 0.4, 0.9, 0.9]).mean()
    assert first["logloss"] == pytest.approx(logloss, rel=1e-6)
    assert first["rce"] == pytest.approx(100 * (1 - logloss / math.log(2)), rel=1e-5)
    assert first["ece"] == pytest.approx((2 * 0.1 + 0.1 + 0.1) / 4, abs=1e-6)
    assert first["sliding_ne"] is None
    second = prequential.add(1 - labels, scores)
    assert second["sliding_auc"] == 1 - first["auc"]  # the ring holds the last four rows alone
    assert second["sliding_logloss"] == pytest.approx(second["logloss"], rel=1e-6)
    assert second["sliding_ece"] == second["ece"]
    assert second["logloss_cumulative"] == pytest.approx((first["logloss"] + second["logloss"]) / 2)
    assert second["calibration_cumulative"] == pytest.approx(4.4 / 4, rel=1e-6)
    assert second["auc_cumulative"] == pytest.approx(0.5)
    assert second["ece_cumulative"] == pytest.approx((0.4 * 2 + 0.1 * 4 + 0.4 * 2) / 8, abs=1e-3)
