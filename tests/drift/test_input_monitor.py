"""Label-free detection: on dense inputs, on ids, on scores; and its vote with the loss."""

from __future__ import annotations

import numpy as np
import pytest

from stream_prune.drift import (
    Cusum,
    DensePopulation,
    DriftMonitor,
    IdChurn,
    InputMonitor,
    ScorePopulation,
    Vote,
)
from stream_prune.errors import ConfigError

STATISTICS = {"dense": DensePopulation, "ids": IdChurn, "scores": ScorePopulation}
SLICE = 256
CHANGE = 120


def rows(seed: int, changed: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A slice: dense [n, 3], ids [2, n], scores [n]; one of them as it was not before."""
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((SLICE, 3)) + (0.7 if changed == "dense" else 0)
    ids = rng.integers(300, size=(2, SLICE)) + (10_000 if changed == "ids" else 0)
    odds = rng.standard_normal(SLICE) - 1 + (0.8 if changed == "scores" else 0)
    return dense, ids, 1 / (1 + np.exp(-odds))


def alarms(monitor: InputMonitor, changed: str, slices: int = 150) -> list[int]:
    return [
        number
        for number in range(slices)
        if monitor.observe(*rows(number, changed if number >= CHANGE else ""))
    ]


@pytest.mark.parametrize("name", STATISTICS)
def test_a_change_of_what_it_watches_is_found_at_once(name: str) -> None:
    found = alarms(InputMonitor(STATISTICS[name](), slice_rows=SLICE), name)
    assert found
    assert CHANGE <= found[0] <= CHANGE + 3


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("other", ["", "dense", "ids", "scores"])
def test_it_is_silent_while_only_others_change(name: str, other: str) -> None:
    if name != other:
        assert alarms(InputMonitor(STATISTICS[name](), slice_rows=SLICE), other) == []


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("saved_at", [0, 1, 40, 121])
def test_a_saved_monitor_goes_on_alike_however_batches_are_cut(name: str, saved_at: int) -> None:
    monitor, copy = (InputMonitor(STATISTICS[name](), slice_rows=200) for _ in range(2))
    for number in range(saved_at):
        monitor.observe(*rows(number))
    copy.load_state_dict(monitor.state_dict())
    for number in range(saved_at, 150):
        given = rows(number, name if number >= CHANGE else "")
        assert monitor.observe(*given) == copy.observe(*given)
    assert str(monitor.state_dict()) == str(copy.state_dict())


def test_a_model_without_dense_inputs_has_nothing_to_watch_there() -> None:
    monitor = InputMonitor(DensePopulation(), slice_rows=SLICE)
    _, ids, scores = rows(0)
    assert not any(monitor.observe(np.empty((SLICE, 0)), ids, scores) for _ in range(200))


def labels(seed: int, quality: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    known = rng.integers(0, 2, SLICE).astype(np.float64)
    return known, np.where((rng.random(SLICE) < quality) == (known == 1), 0.8, 0.2)


def played(need: int, dense_changes: bool, loss_rises: bool) -> list[tuple[int, tuple[str, ...]]]:
    monitor = DriftMonitor(
        Cusum(rising_only=True),
        slice_rows=SLICE,
        cooldown_rows=2_000,
        inputs={"dense": InputMonitor(DensePopulation(), slice_rows=SLICE)},
        need=need,
        within_rows=4_000,
    )
    found = []
    for number in range(150):
        late = number >= CHANGE
        monitor.observe_inputs(*rows(number, "dense" if late and dense_changes else ""))
        signal = monitor.observe(*labels(number, 0.55 if late and loss_rises else 0.8))
        if signal.alarm:
            found.append((number, signal.sources))
    return found


def test_alone_each_alarms_and_the_signal_says_who() -> None:
    assert played(1, dense_changes=True, loss_rises=False)[0][1] == ("dense",)
    assert played(1, dense_changes=False, loss_rises=True)[0][1] == ("loss",)


def test_by_vote_both_must_agree() -> None:
    assert played(2, dense_changes=True, loss_rises=False) == []
    assert played(2, dense_changes=False, loss_rises=True) == []
    ((number, sources),) = played(2, dense_changes=True, loss_rises=True)
    assert CHANGE <= number < CHANGE + 10
    assert set(sources) == {"dense", "loss"}


def test_a_saved_vote_is_still_counted() -> None:
    made = [
        DriftMonitor(
            slice_rows=SLICE,
            cooldown_rows=0,
            inputs={"dense": InputMonitor(DensePopulation(), slice_rows=SLICE)},
            need=2,
            within_rows=50_000,
        )
        for _ in range(2)
    ]
    for number in range(CHANGE + 5):
        made[0].observe_inputs(*rows(number, "dense" if number >= CHANGE else ""))
        assert not made[0].observe(*labels(number, 0.8)).alarm
    made[1].load_state_dict(made[0].state_dict())
    signals = [[monitor.observe(*labels(number, 0.4)) for number in range(10)] for monitor in made]
    assert signals[0] == signals[1]
    assert any(set(signal.sources) == {"dense", "loss"} for signal in signals[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DriftMonitor(need=2), r"need = 2 must be in \[1, 1\]"),
        (lambda: InputMonitor(IdChurn(), slice_rows=0), "slice_rows = 0"),
        (lambda: IdChurn(0), "id_churn.memory = 0"),
        (lambda: DensePopulation(0), "population.memory = 0"),
        (lambda: Vote([Cusum()], need=2), r"need = 2 must be in \[1, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
