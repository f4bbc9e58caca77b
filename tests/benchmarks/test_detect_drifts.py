"""The benchmark of drift detectors: what counts as found, false and missed, and what is chosen."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from detect_drifts.detection import HORIZON, Found, Planted, judge, planted
from detect_drifts.logs import choosing, judging
from detect_drifts.oracle import by_loss, by_truth
from detect_drifts.series import losses
from detect_drifts.settings import LABEL_FREE, Setting, settings
from detect_drifts.traces import Trace
from drift import Watched, alarms, choose, over

from stream_prune.datasets.known_truth import Drift


def drift(start: int, rise: float, end: int | None = None) -> Planted:
    return Planted(Drift("abrupt", start, start if end is None else end, 1), start, rise)


def test_an_alarm_belongs_to_the_drift_before_it_and_others_are_false() -> None:
    drifts = [drift(100_000, 0.2), drift(200_000, 0.01)]
    found = judge([50_000, 101_500, 110_000, 205_000, 290_000], drifts, 300_000)
    assert found.delays == (1_500.0,)
    assert found.false_alarms == 2  # at 50,000 and 290,000; one after a small drift is its own
    assert found.events == 300_000 - 2 * HORIZON


def test_a_drift_without_an_alarm_before_the_next_one_is_missed() -> None:
    found = judge([126_000], [drift(100_000, 0.2), drift(125_000, 0.2)], 300_000)
    assert found.delays == (inf, 1_000.0)
    assert (found.misses, found.delay(50)) == (1, (HORIZON + 1_000) / 2)


def test_a_gradual_drift_counts_from_where_its_loss_has_risen() -> None:
    gradual = Planted(Drift("gradual", 100_000, 140_000, 1), onset=120_000, rise=0.3)
    assert judge([123_000], [gradual], 300_000).delays == (3_000.0,)
    assert judge([110_000], [gradual], 300_000).delays == (0.0,)


def test_what_a_drift_does_to_ne_is_measured_and_the_labels_are_read_from_loss_and_score() -> None:
    log = choosing(True)[0]
    rng = np.random.default_rng(0)
    scores = np.full(log.rows, 0.3, np.float32)
    rates = np.where(np.arange(log.rows) < log.drifts[0].start, 0.3, 0.5)
    labels = rng.random(log.rows) < rates
    loss = -np.log(np.where(labels, scores, 1 - scores)).astype(np.float32)
    trace = Trace(log, loss, scores)
    assert (trace.labels == labels).all()
    first = planted(trace, rates.astype(np.float32))[0]
    entropy = -np.log(0.5)
    assert first.rise == pytest.approx(-0.5 * np.log(0.3 * 0.7) / entropy - 1, abs=1e-3)
    assert first.large


def test_no_log_for_judging_is_one_for_choosing_and_ten_million_events_have_no_drift() -> None:
    for quick in (True, False):
        chosen, judged = choosing(quick), judging(quick)
        assert not {log.settings.seed for log in chosen} & {log.settings.seed for log in judged}
    quiet = [log for log in judging(False) if not log.drifts]
    assert sum(log.rows for log in quiet) >= 10_000_000
    assert {log.kind for log in judging(False) if log.drifts} == {"synthetic", "capacity-bound"}


def test_the_soonest_setting_with_few_false_alarms_is_chosen() -> None:
    hasty, right, slow = (Found((d,), f, 10**6) for d, f in ((10.0, 5), (900.0, 1), (4_000.0, 0)))
    assert choose([hasty, slow, right]) == 2
    assert choose([hasty, Found((1.0,), 9, 10**6)]) == 0


@pytest.mark.parametrize("name", settings(False))
def test_every_setting_makes_a_detector_that_finds_a_large_drift(name: str) -> None:
    log = choosing(True)[0]
    rng = np.random.default_rng(1)
    loss = rng.exponential(0.5, log.rows).astype(np.float32)
    loss[log.drifts[0].start :] += 0.5
    steps = np.repeat(0.01, log.rows // 512) + 0.002 * rng.standard_normal(log.rows // 512)
    steps[log.drifts[0].start // 512 + 50 :] = 0.5
    trace = Trace(log, loss, np.full(log.rows, 0.5, np.float32))
    whole = loss[: log.rows // 128 * 128]
    vectors = np.repeat(whole.reshape(-1, 128).mean(1)[:, None], 2, axis=1)
    vectors[:, 1] += 0.1 * rng.standard_normal(len(vectors))
    bayes = np.full(log.rows, 0.5, np.float32)
    drifts = [drift(log.drifts[0].start, 1.0)]
    watched = Watched(trace, drifts, dict.fromkeys(LABEL_FREE, steps), bayes, vectors)
    each: list[Setting] = settings(False)[name]
    assert len({str(setting) for setting in each}) == len(each)
    values = watched.values(each[0])
    assert len(values) == log.rows // each[0].slice_rows
    found = alarms(each[0], values)
    assert all(at % each[0].slice_rows == 0 for at in found)
    if name == "cusum":
        assert over(each[0], [watched]).misses == 0
        assert losses(trace, 128)[0] == pytest.approx(loss[:128].mean(), rel=1e-5)


def test_oracles_wait_for_as_much_evidence_as_rare_false_alarms_ask_for() -> None:
    log = choosing(True)[0]
    start, rows = log.drifts[0].start, np.arange(log.rows)
    scores = np.full(log.rows, 0.5, np.float32)
    bayes = np.where(rows < start, 0.5, 0.9).astype(np.float32)
    labels = np.random.default_rng(2).random(log.rows) < bayes
    # Any score of one half costs log 2, so the loss cannot tell, and the truth soon does.
    loss = -np.log(np.where(labels, scores, 1 - scores)).astype(np.float32)
    watched = Watched(Trace(log, loss, scores), [drift(start, 0.3)], {}, bayes, np.empty((0, 2)))
    assert by_loss(watched) == [HORIZON]
    nats = np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)
    assert by_truth(watched) == [pytest.approx(np.log(1e6) / nats, abs=1)]
