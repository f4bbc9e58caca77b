"""When each message is due: at a rate, with bursts, or as fast as event time passes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from beam_jobs.produce.options import Bursts

F64 = npt.NDArray[np.float64]


def due_by_rate(first: int, count: int, rate: float, bursts: Bursts) -> F64:
    """Seconds after the start at which messages [first, first + count) are due.

    Every ``bursts.every_s`` begin with ``bursts.length_s`` of ``bursts.factor`` times the rate.

    >>> due_by_rate(0, 4, 2.0, Bursts()).tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    in_burst = rate * bursts.factor * bursts.length_s
    in_cycle = in_burst + rate * (bursts.every_s - bursts.length_s)
    number = np.arange(first, first + count, dtype=np.float64)
    cycle, rest = np.divmod(number, in_cycle)
    quick = rest / (rate * bursts.factor)
    slow = bursts.length_s + (rest - in_burst) / rate
    return cycle * bursts.every_s + np.where(rest < in_burst, quick, slow)


def due_by_speed(times: npt.NDArray[np.int64], first_ms: int, speed: float) -> F64:
    """Seconds after the start at which messages with event times (ms) [M] are due, in order."""
    return np.maximum.accumulate((times - first_ms) / 1000.0 / speed)
