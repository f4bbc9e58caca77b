"""Detection on residuals times inputs: what it hears that the loss does not, what it ignores."""

from __future__ import annotations

import numpy as np
import pytest

from stream_prune.drift import Cusum, DriftMonitor, Mewma, ResidualMonitor
from stream_prune.drift.mewma import threshold
from stream_prune.errors import ConfigError

BATCH, DENSE, CHANGE = 256, 6, 400


def batch(number: int, turned: float = 0.0) -> tuple[np.ndarray, ...]:
    """Labels, scores and dense inputs [B, 6] of a model that is right until the truth turns.

    One input never varies, and the log-odds hang on another alone: neither is an alarm.

    Args:
        turned: angle by which the direction that decides has turned, in the plane of two inputs.
    """
    rng = np.random.default_rng(number)
    dense = rng.standard_normal((BATCH, DENSE)) * [1, 1, 1, 100, 1, 0]
    given = 0.8 * dense[:, 0] - 1.5
    true = 0.8 * (np.cos(turned) * dense[:, 0] + np.sin(turned) * dense[:, 1]) - 1.5
    labels = rng.random(BATCH) < 1 / (1 + np.exp(-true))
    return labels.astype(np.float64), 1 / (1 + np.exp(-given)), dense


def alarms(monitor: DriftMonitor, batches: int = 800, **change: float) -> list[tuple[int, str]]:
    found = []
    for number in range(batches):
        labels, scores, dense = batch(number, **(change if number >= CHANGE else {}))
        monitor.show(dense)
        signal = monitor.observe(labels, scores)
        if signal.alarm:
            found.append((number, "+".join(signal.sources)))
    return found


def test_it_finds_a_turned_concept_before_the_loss_does() -> None:
    loss = DriftMonitor(Cusum(k=0.25, h=16, rising_only=True, memory=192), slice_rows=128)
    heard = [at for at, _ in alarms(loss, turned=0.7) if at >= CHANGE]
    both = DriftMonitor(
        Cusum(k=0.25, h=16, rising_only=True, memory=192), 128, residuals=ResidualMonitor()
    )
    at, source = alarms(both, turned=0.7)[0]
    assert source == "residuals"
    assert CHANGE < at < CHANGE + 20
    assert not heard or at < heard[0]


def test_a_stream_that_stays_is_no_alarm() -> None:
    quiet = DriftMonitor(Cusum(h=1e9), residuals=ResidualMonitor())
    assert alarms(quiet, batches=2_000) == []


@pytest.mark.parametrize("saved_at", [0, 1, 40, 403])
def test_a_saved_monitor_goes_on_alike(saved_at: int) -> None:
    one, other = (
        DriftMonitor(slice_rows=100, residuals=ResidualMonitor(slice_rows=100)) for _ in range(2)
    )
    for number in range(440):
        if number == saved_at:
            other.load_state_dict(one.state_dict())
        labels, scores, dense = batch(number, 1.0 if number >= CHANGE else 0.0)
        for monitor in (one, other) if number >= saved_at else (one,):
            monitor.show(dense)
            monitor.observe(labels, scores)
    assert str(one.state_dict()) == str(other.state_dict())


def test_how_batches_are_cut_does_not_matter_and_unlabelled_rows_are_left_out() -> None:
    whole, cut = (DriftMonitor(residuals=ResidualMonitor(), cooldown_rows=0) for _ in range(2))
    for number in range(60):
        labels, scores, dense = batch(number)
        whole.show(dense)
        whole.observe(labels, scores)
        gaps = np.insert(labels, 100, np.nan)
        for rows in (slice(70), slice(70, None)):
            cut.show(np.insert(dense, 100, 7.0, axis=0)[rows])
            cut.observe(gaps[rows], np.insert(scores, 100, 0.5)[rows])
    first, second = (
        monitor.residuals.state_dict() for monitor in (whole, cut) if monitor.residuals
    )
    assert str(first) == str(second)


def test_false_alarms_are_as_rare_as_alpha_says() -> None:
    rng = np.random.default_rng(2)
    detector = Mewma(alpha=1e-3, weights=(1.0,), memory=100_000, burn_in=300)
    mixed = rng.standard_normal((4, 4))
    drawn = rng.standard_normal((20_000, 4))
    found = sum(detector.update(mixed @ x) for x in drawn)
    assert 4 <= found <= 32  # some 15 are due


def test_what_is_missing_or_out_of_range_is_named() -> None:
    monitor = DriftMonitor(residuals=ResidualMonitor())
    labels, scores, dense = batch(0)
    with pytest.raises(ConfigError, match=r"0 rows of dense inputs were shown for 256 labels"):
        monitor.observe(labels, scores)
    monitor.show(dense[:5])
    with pytest.raises(ConfigError, match=r"5 rows of dense inputs"):
        monitor.observe(labels, scores)
    with pytest.raises(ConfigError, match="labels and scores"):
        monitor.observe_loss(0.5, 10)
    with pytest.raises(ConfigError, match="weights"):
        Mewma(weights=())
    with pytest.raises(ConfigError, match="burn_in"):
        Mewma(burn_in=2_000)
    with pytest.raises(ConfigError, match="slice_rows"):
        ResidualMonitor(slice_rows=0)
    with pytest.raises(ValueError, match="cannot take in"):
        Mewma().update(np.array([np.nan]))


def test_a_model_without_dense_inputs_is_watched_by_its_calibration() -> None:
    monitor = DriftMonitor(Cusum(h=1e9), residuals=ResidualMonitor())
    rng = np.random.default_rng(3)
    found = []
    for number in range(500):
        scores = rng.uniform(0.1, 0.3, BATCH)
        labels = rng.random(BATCH) < scores * (1.4 if number >= CHANGE else 1)
        monitor.show(np.empty((BATCH, 0)))
        if monitor.observe(labels.astype(np.float64), scores).alarm:
            found.append(number)
    assert found
    assert CHANGE < found[0] < CHANGE + 30


def test_the_threshold_is_that_of_chi_square() -> None:
    from scipy.stats import chi2

    for freedom in (2, 15, 60):
        assert threshold(1e-5, freedom) == pytest.approx(chi2.isf(1e-5, freedom), rel=0.1)
