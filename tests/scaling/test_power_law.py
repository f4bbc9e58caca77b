"""Scaling laws: fits that find the truth, intervals that hold it, refusals that say why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.errors import RunError
from stream_prune.scaling.power_law import PowerLaw, fit
from stream_prune.scaling.study import fisher_interval, study

SIZES = np.geomspace(10, 10_000, 10)
TRUE = PowerLaw(1.2, 0.35, 0.55)


def drawn(law: PowerLaw, noise: float, seed: int, sizes: np.ndarray = SIZES, seeds: int = 3):
    x = np.repeat(sizes, seeds)
    return x, law.curve(x) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(x)))


@given(
    a=st.floats(0.1, 20),
    b=st.floats(0.1, 1.5),
    c=st.floats(0, 2),
    unit=st.sampled_from([1e-3, 1.0, 1e6]),
)
@settings(max_examples=40)
def test_a_law_without_noise_is_found_whatever_its_units(a, b, c, unit) -> None:
    law = PowerLaw(a, b, c)
    x = SIZES * unit
    found = fit(x, PowerLaw(a * unit**b, b, c).curve(x))
    assert found.at(100 * unit) == pytest.approx(law.at(100), rel=1e-4)
    assert found.curve(x) == pytest.approx(law.curve(SIZES), rel=1e-3)


def test_one_run_that_went_wrong_does_not_carry_the_law_away() -> None:
    x, loss = drawn(TRUE, 0.001, 1)
    loss[7] *= 1.2
    found = fit(x, loss)
    assert found.b == pytest.approx(TRUE.b, abs=0.02)
    assert found.c == pytest.approx(TRUE.c, abs=0.01)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    inside, draws = np.zeros(3), 60
    for seed in range(draws):
        found = study(*drawn(TRUE, 0.002, seed), seed=seed)
        for place, name in enumerate("abc"):
            low, high = found.interval(name)
            inside[place] += low <= getattr(TRUE, name) <= high
    assert (inside >= 51).all()  # of 60; 57 are meant to


def test_intervals_are_about_as_wide_as_fisher_s_information_allows() -> None:
    x, loss = drawn(TRUE, 0.002, 3)
    best = fisher_interval(TRUE, x, 0.002)
    for name in "abc":
        low, high = study(x, loss).interval(name)
        assert 0.6 < (high - low) / 2 / best[name] < 2.5


def test_a_law_that_holds_is_extrapolated_as_far_as_it_may_be() -> None:
    found = study(*drawn(TRUE, 0.001, 4))
    assert found.refusal == ""
    assert [size for size, _ in found.held_out] == sorted(SIZES[-2:])
    loss, (low, high) = found.predict(30_000)
    assert low <= TRUE.at(30_000) <= high
    assert loss == pytest.approx(TRUE.at(30_000), rel=5e-3)
    with pytest.raises(RunError, match="trusted 4 times as far"):
        found.predict(1e6)


@pytest.mark.parametrize(
    ("sizes", "curve", "reason"),
    [
        (SIZES, lambda x: 0.9 + 0 * x, "does not let one tell it from a constant"),
        (np.geomspace(100, 400, 8), TRUE.curve, "span a factor of 4.0 only"),
        (np.geomspace(10, 1e4, 5), TRUE.curve, "5 sizes leave none to test"),
        # The largest sizes stop learning: a kink that a law from smaller ones cannot know of.
        (SIZES, lambda x: TRUE.curve(np.minimum(x, 2_000)) + 0.02 * (x > 4_000), "the law is off"),
    ],
)
def test_what_does_not_carry_an_extrapolation_is_refused_with_the_reason(
    sizes: np.ndarray, curve, reason: str
) -> None:
    x = np.repeat(sizes, 3)
    noise = np.random.default_rng(5).standard_normal(len(x))
    found = study(x, curve(x) * np.exp(0.001 * noise))
    assert reason in found.refusal
    with pytest.raises(RunError, match="no prediction"):
        found.predict(2 * float(x.max()))
    inside = float(np.sqrt(x.min() * x.max()))
    assert math.isfinite(found.predict(inside)[0])  # between the points nothing is extrapolated


def test_too_few_sizes_are_no_law() -> None:
    with pytest.raises(RunError, match="4 distinct sizes, 5 are needed"):
        fit(*drawn(TRUE, 0.001, 1, sizes=SIZES[:4]))
    with pytest.raises(RunError, match="above 0"):
        fit(np.array([1.0, 2, 3, 4, 0]), np.ones(5))


def test_a_law_tells_what_size_a_loss_needs() -> None:
    assert TRUE.needed(TRUE.at(500)) == pytest.approx(500)
    assert TRUE.needed(0.5) == math.inf
