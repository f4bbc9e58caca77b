"""From measured replays to budgets."""

from __future__ import annotations

import numpy as np
import pytest

from stream_prune.evaluation.compare import Difference
from stream_prune.scaling.advice import (
    STEPS,
    WHOLE,
    Advice,
    Measured,
    candidates,
    cheapest,
    together,
)
from stream_prune.scaling.power_law import PowerLaw

SHARES = (0.5, 0.25, 0.125, 0.0625, 0.03125)


def measured(share: float, value: float, width: float, full: float = 0.8) -> Measured:
    found = Difference(value, value - width, value + width, (value,), ((value, value),))
    return Measured(share, found, (full * (1 + value),))


def test_the_smallest_model_that_is_surely_within_the_tolerance_is_taken() -> None:
    tried = [
        measured(0.5, 0.0002, 0.0003),
        measured(0.25, 0.0006, 0.0003),
        measured(0.125, 0.01, 0),
    ]
    found = cheapest({"macs": candidates([0.8], tried)}, 0.001)["macs"]
    assert (found.share, found.loss, found.reason) == (0.25, 0.0006, "measured")
    assert cheapest({"macs": candidates([0.8], tried)}, 0.0007)["macs"].share == 0.5


def test_where_nothing_is_surely_within_it_nothing_goes() -> None:
    found = cheapest({"macs": candidates([0.8], [measured(0.5, 0.0, 0.002)])}, 0.001)
    assert found == {"macs": WHOLE}


def test_the_tolerance_goes_to_the_part_that_gives_most_for_it() -> None:
    parts = {
        "macs": [Advice(0.5, 0.0001, (0.0, 0.0002), ""), Advice(0.1, 0.0006, (0.0005, 0.0007), "")],
        "rows": [Advice(0.5, 0.0005, (0.0004, 0.0006), "")],
    }
    shares = {
        tolerance: tuple(part.share for part in cheapest(parts, tolerance).values())
        for tolerance in (0.0001, 0.0003, 0.00065, 0.0008, 0.0013)
    }
    assert shares == {
        0.0001: (1, 1),
        0.0003: (0.5, 1),
        0.00065: (0.5, 1),
        0.0008: (0.1, 1),
        0.0013: (0.1, 0.5),
    }


def test_a_part_that_got_better_pays_for_no_other() -> None:
    parts = {
        "macs": [Advice(0.5, -0.01, (-0.01, -0.01), "")],
        "rows": [Advice(0.5, 0.002, (0.002, 0.002), "")],
    }
    assert [part.share for part in cheapest(parts, 0.001).values()] == [0.5, 1.0]


def test_a_law_speaks_between_the_measured_shares_and_not_beyond() -> None:
    law = PowerLaw(0.002, 1.0, 0.8)
    rng = np.random.default_rng(1)
    full = [law.at(1.0) * (1 + 1e-5 * rng.standard_normal()) for _ in range(3)]
    tried = []
    for share in SHARES:
        losses = tuple(law.at(share) * (1 + 1e-5 * rng.standard_normal()) for _ in range(3))
        value = np.mean(losses) / np.mean(full) - 1
        difference = Difference(value, value - 1e-4, value + 1e-4, (value,), ())
        tried.append(Measured(share, difference, losses))
    parts = {"macs": candidates(full, tried)}
    found = cheapest(parts, 0.012)["macs"]
    assert found.reason == "between measured shares, by law"
    assert 0.125 < found.share < 0.25
    step = min(SHARES) ** (-1 / STEPS)  # between two shares that the law is asked about
    best = 0.002 / (law.at(1.0) * 1.012 - 0.8)
    assert best / 1.03 < found.share < best * step * 1.03
    low, high = found.interval
    assert low <= found.loss <= high <= 0.012
    assert cheapest(parts, 1.0)["macs"].share == min(SHARES)
    assert all(each.reason == "measured" for each in candidates(full, tried, law=False))


def test_losses_add_up_and_intervals_in_squares() -> None:
    loss, (low, high) = together([Advice(0.5, 0.001, (0.0007, 0.0013), "")] * 2)
    assert loss == pytest.approx(0.002)
    assert high - loss == pytest.approx(0.0003 * 2**0.5)
    assert loss - low == pytest.approx(0.0003 * 2**0.5)
