"""The DDM family: detectors of a rising error rate."""

from __future__ import annotations

import math
from typing import Any

from stream_prune.drift.replayed import ReplayedDetector
from stream_prune.errors import ConfigError

HIGH = 1.5
"""Standard deviations above the mean from which a slice counts as an error."""


class BinaryDetector(ReplayedDetector):
    """A detector of river's that is fed with one bit per value: is it unusually high?

    Differs from the papers in what is fed: they count wrong predictions, example by example. Most
    clicks don't happen, and right or wrong at a threshold says little about a model of clicks; here
    a slice is an error whose loss is more than :data:`HIGH` deviations above the mean since the
    last reset, so about one slice in ten is, until the stream changes. What is higher counts for
    mean and deviation as if it were just that, lest they follow the drift.

    Args:
        kind: class name in ``river.drift.binary``.
        settings: its arguments.
        burn_in: values after a reset that only make the mean.
    """

    def __init__(self, kind: str, settings: dict[str, Any], burn_in: int) -> None:
        if burn_in < 2:
            raise ConfigError(f"{kind.lower()}.burn_in = {burn_in}: must be at least 2")
        self._burn_in = burn_in
        super().__init__(f"binary.{kind}", settings, scale=1.0)

    def reset(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        super().reset()

    def _feed(self, value: float) -> None:
        if self._count >= self._burn_in:
            deviation = math.sqrt(self._squares / (self._count - 1))
            # Equal values are no error, and neither is what rounding makes of them.
            high = self._mean + max(HIGH * deviation, 1e-9 * abs(self._mean))
            self._detector.update(value > high)
            value = min(value, high)
        self._count += 1
        step = value - self._mean
        self._mean += step / self._count
        self._squares += step * (value - self._mean)


class Ddm(BinaryDetector):
    """Alarms where the error rate is ``threshold`` deviations above the least that it was.

    Args:
        threshold: in deviations of the least rate.
        burn_in: see :class:`BinaryDetector`; twice as many values again before the first alarm.

    Source: Gama et al., Learning with Drift Detection (SBIA 2004); ``river.drift.binary.DDM``.
    """

    def __init__(self, threshold: float = 6.0, burn_in: int = 16) -> None:
        settings = {"drift_threshold": threshold, "warm_start": 2 * burn_in}
        super().__init__("DDM", settings, burn_in)


class Eddm(BinaryDetector):
    """Alarms where errors come closer together than ``beta`` times the farthest they were apart.

    Args:
        beta: share of the greatest mean distance, deviations included; smaller alarms less.
        errors: before the first alarm.
        burn_in: see :class:`BinaryDetector`.

    Source: Baena-García et al., Early Drift Detection Method (2006); ``river.drift.binary.EDDM``.
    """

    def __init__(self, beta: float = 0.5, errors: int = 30, burn_in: int = 16) -> None:
        settings = {"alpha": min(1.0, beta + 0.05), "beta": beta, "warm_start": errors}
        super().__init__("EDDM", settings, burn_in)


class HddmA(BinaryDetector):
    """Compares mean error rates before and after a cut, by Hoeffding's bound.

    Args:
        delta: of the bound; smaller alarms less.
        burn_in: see :class:`BinaryDetector`.

    Source: Frías-Blanco et al., Online and Non-Parametric Drift Detection Methods Based on
    Hoeffding's Bounds (TKDE 2015); ``river.drift.binary.HDDMA``.
    """

    def __init__(self, delta: float = 1e-5, burn_in: int = 16) -> None:
        super().__init__("HDDMA", {"drift_confidence": delta}, burn_in)


class HddmW(BinaryDetector):
    """The same with exponentially weighted means, which is quicker where a drift is abrupt.

    Args:
        delta: of the bound; smaller alarms less.
        weight: of the newest value in the mean.
        burn_in: see :class:`BinaryDetector`.

    Source: as :class:`HddmA`; ``river.drift.binary.HDDMW``.
    """

    def __init__(self, delta: float = 1e-6, weight: float = 0.05, burn_in: int = 16) -> None:
        settings = {"drift_confidence": delta, "lambda_val": weight}
        super().__init__("HDDMW", settings, burn_in)
