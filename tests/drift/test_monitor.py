"""From batches of labels and scores to alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.drift import Adwin, Cusum, DriftMonitor
from stream_prune.drift.slices import Slices
from stream_prune.errors import ConfigError


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 120), max_size=8),
    rows=st.integers(1, 40),
)
def test_slices_do_not_depend_on_how_batches_are_cut(seed: int, cuts: list[int], rows: int) -> None:
    losses = np.random.default_rng(seed).integers(0, 8, 120).astype(np.float64)
    slices, means = Slices(rows), []
    for part in np.split(losses, sorted(cuts)):
        means += slices.add(part)
    whole = len(losses) // rows
    assert means == losses[: whole * rows].reshape(whole, rows).mean(axis=1).tolist()


def batch(seed: int, rows: int, quality: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows).astype(np.float32)
    right = random.random(rows) < quality
    return labels, np.where(right == (labels == 1), 0.8, 0.2).astype(np.float32)


def play(monitor: DriftMonitor, qualities: list[float], start: int = 0) -> list[int]:
    return [
        index
        for index, quality in enumerate(qualities, start)
        if monitor.observe(*batch(index, 100, quality)).alarm
    ]


STORY = [0.8] * 80 + [0.4] * 60


def test_a_model_that_gets_worse_raises_one_alarm_soon() -> None:
    monitor = DriftMonitor(slice_rows=100, cooldown_rows=2000)
    found = play(monitor, STORY)
    assert len(found) == 1
    assert 80 <= found[0] < 90


def test_the_signal_tells_value_and_severity() -> None:
    monitor = DriftMonitor(slice_rows=100, cooldown_rows=0)
    first = monitor.observe(np.ones(50), np.full(50, 0.5))
    assert math.isnan(first.value)
    second = monitor.observe(torch.ones(50), torch.full((50,), 0.5))
    assert second.value == pytest.approx(math.log(2))
    assert (second.alarm, second.severity, second.slices) == (False, 0.0, 1)


def test_labels_that_are_not_known_are_left_out() -> None:
    with_gaps = DriftMonitor(slice_rows=100, cooldown_rows=0)
    without = DriftMonitor(slice_rows=100, cooldown_rows=0)
    labels, scores = batch(0, 300, 0.7)
    gaps = np.insert(labels, [10, 50, 200], np.nan)
    a = with_gaps.observe(gaps, np.insert(scores, [10, 50, 200], 0.99))
    assert a == without.observe(labels, scores)
    assert with_gaps.observe(np.full(500, np.nan), np.full(500, 0.1)).slices == 3


def test_the_loss_of_a_batch_stands_for_each_of_its_rows() -> None:
    monitor = DriftMonitor(slice_rows=100, cooldown_rows=0)
    monitor.observe_loss(0.2, 75)
    assert monitor.observe_loss(0.6, 25).value == pytest.approx(0.3)


def test_scores_of_zero_and_one_have_a_finite_loss() -> None:
    monitor = DriftMonitor(slice_rows=2, cooldown_rows=0)
    assert math.isfinite(monitor.observe(np.array([1.0, 0.0]), np.array([0.0, 1.0])).value)


def test_after_a_reset_nothing_is_watched_until_the_cooldown_is_over() -> None:
    monitor = DriftMonitor(slice_rows=100, cooldown_rows=1000)
    assert play(monitor, [0.8] * 60) == []
    monitor.reset()
    assert play(monitor, [0.3] * 60, 60) == []


@pytest.mark.parametrize("detector", [Cusum, Adwin])
@pytest.mark.parametrize("saved_at", [0, 3, 40, 82, 100])
def test_a_saved_monitor_goes_on_alike(detector: type, saved_at: int) -> None:
    monitor = DriftMonitor(detector(), slice_rows=130, cooldown_rows=1000)
    play(monitor, STORY[:saved_at])
    copy = DriftMonitor(detector(), slice_rows=130, cooldown_rows=1000)
    copy.load_state_dict(monitor.state_dict())
    assert play(monitor, STORY[saved_at:], saved_at) == play(copy, STORY[saved_at:], saved_at)
    after, copied = monitor.state_dict(), copy.state_dict()
    assert str(after) == str(copied)


def test_the_state_of_another_detector_is_refused() -> None:
    with pytest.raises(ConfigError, match="'Cusum', not Adwin"):
        DriftMonitor(Adwin()).load_state_dict(DriftMonitor().state_dict())


def test_slices_of_no_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="slice_rows"):
        DriftMonitor(slice_rows=0)
