"""Two-sided CUSUM on standardised values."""

from __future__ import annotations

import math

from stream_prune.errors import ConfigError
from stream_prune.stateful import State


class Cusum:
    """Alarms when the standardised values drift away from their mean for long enough.

    Every value ``x`` is compared with mean ``m`` and (sample) standard deviation ``s`` of all
    values before it since the last reset, and only then enters them::

        z = (x - m) / s
        up = max(0, up + z - k);  down = max(0, down - z - k)
        alarm when up > h or down > h

    With a ``memory`` older values count exponentially less. The first ``burn_in`` values after a
    reset only enter ``m`` and ``s``. An alarm resets.

    Args:
        k: allowance, in standard deviations; half of the shift to find soon.
        h: threshold, in standard deviations.
        burn_in: values after a reset that set the scale, at least 2.
        rising_only: watch for rising values only (a loss that falls is no reason to alarm).
        memory: values after which the mean forgets as much as comes in; None: never. The loss of a
            model that goes on learning falls: a mean of all of it lies too high and hides a rise.

    Raises:
        ConfigError: an argument is out of range.

    Source: Page, Continuous inspection schemes (Biometrika 1954). k and h as chosen on this
    project's drifting logs; standardising by running moments is its own.

    >>> detector = Cusum(burn_in=4)
    >>> [detector.update(x) for x in (1.0, 1.1, 0.9, 1.0, 1.05, 1.6, 1.6)]
    [False, False, False, False, False, False, True]
    >>> round(detector.severity, 1)
    3.5
    """

    def __init__(
        self,
        k: float = 0.5,
        h: float = 8.0,
        burn_in: int = 16,
        rising_only: bool = False,
        memory: int | None = None,
    ) -> None:
        if not k >= 0 or not h > 0:
            raise ConfigError(f"cusum: k = {k} must not be negative, h = {h} must be positive")
        if burn_in < 2:
            raise ConfigError(f"cusum.burn_in = {burn_in}: must be at least 2")
        if memory is not None and memory < burn_in:
            raise ConfigError(
                f"cusum.memory = {memory}: must be at least burn_in = {burn_in}, or left out"
            )
        self.k, self.h, self.burn_in, self.rising_only = k, h, burn_in, rising_only
        self.memory = memory
        self._severity = 0.0
        self.reset()

    @property
    def severity(self) -> float:
        return self._severity

    def reset(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._up = self._down = 0.0
        self._up_run = self._down_run = 0

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            raise ValueError(f"cusum: cannot take in {value}")
        alarm = self._count >= self.burn_in and self._test(value)
        if alarm:
            self.reset()
            return True
        if self._count == self.memory:
            self._squares *= 1 - 1 / self._count
        else:
            self._count += 1
        step = value - self._mean
        self._mean += step / self._count
        self._squares += step * (value - self._mean)
        return False

    def _test(self, value: float) -> bool:
        deviation = math.sqrt(self._squares / (self._count - 1))
        scale = max(deviation, 1e-6 * abs(self._mean), 1e-12)  # constant values have none
        z = (value - self._mean) / scale
        self._up = max(0.0, self._up + z - self.k)
        self._up_run = self._up_run + 1 if self._up > 0 else 0
        self._down = max(0.0, self._down - z - self.k)
        self._down_run = self._down_run + 1 if self._down > 0 else 0
        if self._up > self.h:
            self._severity = self._up / self._up_run + self.k
            return True
        if self._down > self.h and not self.rising_only:
            self._severity = -(self._down / self._down_run + self.k)
            return True
        return False

    def state_dict(self) -> State:
        return {
            "count": self._count,
            "mean": self._mean,
            "squares": self._squares,
            "up": self._up,
            "down": self._down,
            "up_run": self._up_run,
            "down_run": self._down_run,
            "severity": self._severity,
        }

    def load_state_dict(self, state: State) -> None:
        self._count = _integer(state["count"])
        self._mean = _number(state["mean"])
        self._squares = _number(state["squares"])
        self._up, self._down = _number(state["up"]), _number(state["down"])
        self._up_run, self._down_run = _integer(state["up_run"]), _integer(state["down_run"])
        self._severity = _number(state["severity"])


def _number(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value
