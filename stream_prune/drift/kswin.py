"""KSWIN: the latest values against a sample of those before, by a Kolmogorov-Smirnov test."""

from __future__ import annotations

from stream_prune.drift.replayed import ReplayedDetector
from stream_prune.errors import ConfigError


class Kswin(ReplayedDetector):
    """river's KSWIN, which finds shifts of the whole distribution, in both directions.

    Args:
        alpha: of the test; smaller alarms less. It is made at every value, so this is far below the
            share of false alarms that one is ready for.
        window: values that are looked at.
        recent: of them, the latest ones, which are held against as many of the others.
        seed: of the draw among the others.

    Source: Raab, Heusinger and Schleif, Reactive Soft Prototype Computing for Concept Drift Streams
    (Neurocomputing 2020); ``river.drift.KSWIN``.
    """

    def __init__(
        self, alpha: float = 1e-4, window: int = 64, recent: int = 12, seed: int = 0
    ) -> None:
        if not 0 < alpha < 1 or not 1 < recent <= window // 2:
            raise ConfigError(
                f"kswin: alpha = {alpha} must be in (0, 1), recent = {recent} above 1 and at most "
                f"half of window = {window}"
            )
        settings = {"alpha": alpha, "window_size": window, "stat_size": recent, "seed": seed}
        super().__init__("KSWIN", settings, scale=1.0)
