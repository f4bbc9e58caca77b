"""Paired differences of two runs over the same windows."""

from __future__ import annotations

import numpy as np
import pytest

from stream_prune.evaluation.compare import Difference, paired_difference, recovery


def losses(seeds: int = 3, windows: int = 400, seed: int = 0) -> np.ndarray:
    """Summed logloss of windows of different sizes, alike in all seeds."""
    rng = np.random.default_rng(seed)
    stream = rng.uniform(50, 150, windows)
    return stream * (1 + 0.01 * rng.standard_normal((seeds, windows)))


def noise(windows: int, memory: float, seed: int) -> np.ndarray:
    """Noise of variance 1 whose windows resemble their predecessors by ``memory``."""
    rng = np.random.default_rng(seed)
    values = np.empty(windows)
    values[0] = rng.standard_normal()
    for i in range(1, windows):
        values[i] = memory * values[i - 1] + (1 - memory**2) ** 0.5 * rng.standard_normal()
    return values


def test_a_model_that_loses_the_same_share_everywhere_is_above_with_a_narrow_interval() -> None:
    theirs = losses()
    found = paired_difference(theirs * 1.002, theirs, block=12)
    assert found.value == pytest.approx(0.002)
    assert found.low == pytest.approx(0.002)
    assert found.high == pytest.approx(0.002)
    assert found.verdict() == "above"
    assert found.verdict(against=0.005) == "below"


def test_the_differences_are_those_of_ne_over_all_rows() -> None:
    ours, theirs = losses(seed=1), losses(seed=2)
    found = paired_difference(ours, theirs, block=12)
    assert found.value == pytest.approx(ours.sum() / theirs.sum() - 1)
    assert found.seeds == pytest.approx(ours.sum(1) / theirs.sum(1) - 1)
    pairs = zip(found.seeds, found.seed_intervals, strict=True)
    assert all(low < value < high for value, (low, high) in pairs)


def test_swapping_the_models_swaps_the_verdict() -> None:
    theirs = losses()
    ours = theirs * (0.99 + 0.002 * np.random.default_rng(3).standard_normal(theirs.shape))
    assert paired_difference(ours, theirs, block=12).verdict() == "below"
    assert paired_difference(theirs, ours, block=12).verdict() == "above"


def test_a_margin_inside_the_interval_is_a_tie() -> None:
    theirs = losses(seeds=1)
    ours = theirs * (1.0005 + 0.05 * np.random.default_rng(4).standard_normal(theirs.shape))
    found = paired_difference(ours, theirs, block=12)
    assert found.low < 0 < found.high
    assert found.verdict() == "tie"


@pytest.mark.parametrize("by", [(0.02, 0.0001, 0.0001), (0.01, 0.01, -0.001)])
def test_a_margin_on_which_the_seeds_do_not_agree_is_a_tie(by: tuple[float, ...]) -> None:
    theirs = losses()
    found = paired_difference(theirs * (1 + np.array(by)[:, None]), theirs, block=12)
    assert found.low > 0
    assert found.verdict() == "tie"


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(memory: float) -> None:
    true, hits = 0.003, 0
    for seed in range(200):
        theirs = np.full((1, 500), 100.0)
        ours = theirs * (1 + true + 0.02 * noise(500, memory, seed))
        found = paired_difference(ours, theirs, block=25, resamples=300)
        hits += found.low <= true <= found.high
    assert 0.85 <= hits / 200 <= 0.99


def test_single_windows_promise_too_much_where_neighbours_are_alike() -> None:
    theirs = np.full((1, 1_000), 100.0)
    ours = theirs * (1 + 0.02 * noise(1_000, 0.95, 5))
    alone, together = (paired_difference(ours, theirs, block=block) for block in (1, 50))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_every_window_is_drawn_equally_often() -> None:
    theirs = np.full((1, 100), 100.0)
    ours = theirs.copy()
    ours[0, -1] = 200.0  # the last window alone makes the difference
    found = paired_difference(ours, theirs, block=20, resamples=4_000)
    assert found.low <= found.value <= found.high
    assert found.high > 0.01


def test_equal_draws_give_equal_intervals() -> None:
    ours, theirs = losses(seed=1), losses(seed=2)
    first, second, other = (
        paired_difference(ours, theirs, block=12, seed=seed) for seed in (0, 0, 1)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("ours", "theirs", "block", "message"),
    [
        (np.ones((1, 4)), np.ones((2, 4)), 1, "shapes"),
        (np.ones(4), np.ones(4), 1, "2-D"),
        (np.ones((1, 0)), np.ones((1, 0)), 1, "2-D"),
        (np.ones((1, 4)), np.ones((1, 4)), 5, r"must be in \[1, 4\]"),
        (np.ones((1, 4)), np.ones((1, 4)), 0, r"must be in \[1, 4\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    ours: np.ndarray, theirs: np.ndarray, block: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(ours, theirs, block=block)


def test_the_seeds_spread_is_half_their_range() -> None:
    assert Difference(0.0, 0.0, 0.0, (0.001, 0.005, 0.002), ()).spread == pytest.approx(0.002)


def test_recovery_pools_seeds_and_looks_at_its_stretch_only() -> None:
    theirs = np.ones((2, 4))
    ours = np.array([[9.0, 1.1, 1.3, 9.0], [9.0, 1.0, 1.0, 9.0]])
    found = recovery(ours, theirs, np.array([10, 20, 30, 40]), [(10, 30)])
    assert found == pytest.approx((0.1,))


def test_recovery_refuses_a_stretch_without_windows() -> None:
    with pytest.raises(ValueError, match="no window ends"):
        recovery(np.ones(2), np.ones(2), np.array([10, 20]), [(20, 25)])
