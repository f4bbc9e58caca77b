"""Calibration: expected positives over observed ones."""

from __future__ import annotations


def calibration(expected: float, positives: int) -> float | None:
    """The sum of the scores over the number of positives; 1 is calibrated, None without positives.

    Source: He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014, section 3.

    >>> calibration(expected=12.0, positives=10)
    1.2
    """
    return expected / positives if positives else None
