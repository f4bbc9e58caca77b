from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.report.figure import numbers
from stream_prune.report.over_time import smooth

VALUES = st.lists(st.one_of(st.just(float("nan")), st.floats(0.1, 2.0)), min_size=1, max_size=40)


@given(VALUES, st.integers(1, 10), st.randoms(use_true_random=False))
def test_smoothing_is_the_weighted_mean_of_the_last_windows(
    values: list[float], windows: int, random: object
) -> None:
    y = np.array(values)
    weights = np.array([random.randint(0, 5) for _ in values], float)  # type: ignore[attr-defined]
    smoothed = smooth(y, weights, windows)
    for i, found in enumerate(smoothed):
        part = slice(max(0, i + 1 - windows), i + 1)
        known = np.isfinite(y[part])
        mass = weights[part][known].sum()
        if mass == 0:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(np.average(y[part][known], weights=weights[part][known]))


def test_what_is_no_number_becomes_a_gap() -> None:
    assert numbers(np.array([1.0, np.nan, np.inf])) == [1.0, None, None]
