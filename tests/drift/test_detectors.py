"""The contract that every drift detector keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stream_prune.drift import (
    Adwin,
    Cusum,
    Ddm,
    Detector,
    Eddm,
    HddmA,
    HddmW,
    Kswin,
    PageHinkley,
    Vote,
)
from stream_prune.drift.replayed import ReplayedDetector
from stream_prune.errors import ConfigError

DETECTORS: dict[str, Callable[[], Detector]] = {
    "cusum": Cusum,
    "cusum with a memory": lambda: Cusum(memory=32),
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
    "kswin": Kswin,
    "ddm": Ddm,
    "eddm": Eddm,
    "hddm_a": HddmA,
    "hddm_w": HddmW,
    "vote": lambda: Vote([Cusum(), Adwin(), PageHinkley()], need=2),
}
RISING = ("ddm", "eddm", "hddm_a", "hddm_w")
"""Detectors of a rising loss alone."""
SLOW = {"kswin": 13, "ddm": 30, "eddm": 40, "hddm_a": 20, "hddm_w": 40}
"""Slices after which a large shift has been found at the latest; others need ten."""
every = pytest.mark.parametrize("make", DETECTORS.values(), ids=DETECTORS)


def losses(seed: int, slices: int, mean: float = 0.5) -> list[float]:
    """Slice losses as a model's are: their mean moves by about two hundredths."""
    return (mean + 0.02 * np.random.default_rng(seed).standard_normal(slices)).tolist()


def alarms(detector: Detector, values: list[float]) -> list[int]:
    return [index for index, value in enumerate(values) if detector.update(value)]


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.1, -0.1])
def test_a_planted_shift_is_found_soon_and_its_direction_told(
    name: str, seed: int, shift: float
) -> None:
    detector, soon = DETECTORS[name](), SLOW.get(name, 10)
    values = losses(seed, 60) + losses(seed + 100, soon + 2, 0.5 + shift)
    found = alarms(detector, values)
    if shift < 0 and name in RISING:
        assert found == []
        return
    assert found
    assert 60 <= found[0] < 60 + soon
    assert np.sign(detector.severity) == np.sign(shift)
    assert abs(detector.severity) > 1


@every
@pytest.mark.parametrize("seed", range(5))
def test_constant_noise_raises_no_alarm_for_300_slices(
    make: Callable[[], Detector], seed: int
) -> None:
    assert alarms(make(), losses(seed, 300)) == []


@every
def test_constant_values_raise_no_alarm(make: Callable[[], Detector]) -> None:
    assert alarms(make(), [0.3] * 200) == []


@every
@pytest.mark.parametrize("saved_at", [0, 5, 40, 62, 75])
def test_a_saved_detector_goes_on_like_the_one_that_was_not(
    make: Callable[[], Detector], saved_at: int
) -> None:
    values = losses(1, 60) + losses(2, 60, 0.62) + losses(3, 60, 0.5)
    detector = make()
    first = alarms(detector, values[:saved_at])
    copy = make()
    copy.load_state_dict(detector.state_dict())
    rest = alarms(detector, values[saved_at:])
    assert first + rest
    assert alarms(copy, values[saved_at:]) == rest
    assert copy.severity == detector.severity
    for key, value in detector.state_dict().items():
        assert np.array_equal(np.asarray(copy.state_dict()[key]), np.asarray(value)), key


@every
def test_a_reset_detector_is_a_new_one(make: Callable[[], Detector]) -> None:
    detector = make()
    alarms(detector, losses(4, 50, 3.0))
    detector.reset()
    assert alarms(detector, losses(5, 100)) == alarms(make(), losses(5, 100)) == []


@every
def test_it_goes_on_after_an_alarm_and_finds_the_next_one(make: Callable[[], Detector]) -> None:
    detector = make()
    values = losses(1, 60) + losses(2, 90, 0.7) + losses(3, 90, 0.9)
    found = alarms(detector, values)
    assert [60 <= index < 150 for index in found] == [True, False]


@every
def test_a_value_that_is_no_number_is_an_error(make: Callable[[], Detector]) -> None:
    with pytest.raises(ValueError, match="cannot take in nan"):
        make().update(float("nan"))


def test_cusum_may_be_told_to_watch_for_rising_values_only() -> None:
    falling = losses(0, 60) + losses(1, 60, 0.3)
    assert alarms(Cusum(), falling)
    assert alarms(Cusum(rising_only=True), falling) == []


def test_a_memory_lets_the_cusum_see_a_rise_after_a_long_fall() -> None:
    falling = np.linspace(0.6, 0.5, 400) + 0.02 * np.random.default_rng(3).standard_normal(400)
    values = [*falling.tolist(), *losses(4, 12, 0.56)]
    found = alarms(Cusum(rising_only=True, memory=48), values)
    assert found
    assert 400 <= found[0] < 412
    assert alarms(Cusum(rising_only=True), values) == []


def test_what_a_replayed_detector_remembers_is_bounded_and_still_resumes_alike() -> None:
    settings = {"delta": 0.3, "clock": 1}
    detector = ReplayedDetector("ADWIN", settings, scale=20.0, history=64)
    alarms(detector, losses(0, 200))
    state = detector.state_dict()
    assert 32 <= len(state["inputs"]) < 64
    copy = ReplayedDetector("ADWIN", settings, scale=20.0, history=64)
    copy.load_state_dict(state)
    values = losses(1, 50) + losses(2, 20, 0.8)
    assert alarms(detector, values) == alarms(copy, values) != []


@pytest.mark.parametrize("wrong", [{"k": -1.0}, {"h": 0.0}, {"burn_in": 1}, {"memory": 8}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Cusum(**wrong)
