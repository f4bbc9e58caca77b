"""Page-Hinkley, on scaled values."""

from __future__ import annotations

from stream_prune.drift.replayed import ReplayedDetector


class PageHinkley(ReplayedDetector):
    """river's Page-Hinkley test, both directions, fed with values times ``scale``.

    Args:
        scale: multiplies every value.
        delta: drift of the mean that is allowed, in scaled units.
        threshold: of the cumulated deviation, in scaled units.
        burn_in: values after a reset before it may alarm.

    Source: Page, Continuous inspection schemes (Biometrika 1954); ``river.drift.PageHinkley``.
    """

    def __init__(
        self,
        scale: float = 20.0,
        delta: float = 0.3,
        threshold: float = 8.0,
        burn_in: int = 16,
    ) -> None:
        settings = {"delta": delta, "threshold": threshold, "min_instances": burn_in}
        super().__init__("PageHinkley", settings, scale)
