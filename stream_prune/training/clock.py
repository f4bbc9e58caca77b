"""Wall-clock seconds by phase: the only part of a run that may differ when it is repeated."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from stream_prune.stateful import State
from stream_prune.training.energy import Energy

T = TypeVar("T")

PHASES = ("read", "score", "evaluate", "learn", "controller", "journal", "checkpoint")


class Clock:
    """Seconds per phase, carried over a resume.

    On CUDA the phases overlap, because work is only queued; the whole loop's seconds are right.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._warm: tuple[float, float] | None = None
        self._carried = 0.0
        self._energy, self._joules = Energy(), 0.0
        self._start = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's time for a phase."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - before

    def reading(self, items: Iterator[T]) -> Iterator[T]:
        """The items, with the time spent waiting for them counted for the phase "read"."""
        while True:
            with self.phase("read"):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    @property
    def total(self) -> float:
        """Seconds in the loop so far, all phases and what lies between them."""
        return self._carried + time.perf_counter() - self._start

    @property
    def learning(self) -> float:
        """Seconds spent on learning and adapting."""
        return self.seconds["learn"] + self.seconds["controller"]

    def warm(self) -> None:
        """The warm-up is over; later calls change nothing."""
        if self._warm is None:
            self._warm = (self.total, self.learning)

    def figures(self, rows: int, late_rows: int) -> dict[str, Any]:
        """Seconds, and learned examples per second of the whole loop and of learning alone; joules
        (None where the machine does not tell), and the most memory this process has held.

        Arguments: ``rows`` learned in all, and after the warm-up.
        """
        loop, learning = self._warm or (self.total, self.learning)
        joules = self._energy.joules()
        return {
            "seconds": self.total,
            "joules": None if joules is None else self._joules + joules,
            "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "seconds_by_phase": dict(self.seconds),
            "examples_per_s": _rate(rows, self.total),
            "examples_per_s_learning": _rate(rows, self.learning),
            "examples_per_s_after_warmup": _rate(late_rows, self.total - loop),
            "examples_per_s_learning_after_warmup": _rate(late_rows, self.learning - learning),
        }

    def state_dict(self) -> State:
        loop, learning = self._warm or (-1.0, -1.0)
        return {
            "total": self.total,
            "joules": self._joules + (self._energy.joules() or 0.0),
            "warm.loop": loop,
            "warm.learning": learning,
            **self.seconds,
        }

    def load_state_dict(self, state: State) -> None:
        self.seconds = {name: _float(state[name]) for name in PHASES}
        loop, learning = _float(state["warm.loop"]), _float(state["warm.learning"])
        self._warm = None if loop < 0 else (loop, learning)
        self._carried, self._joules = _float(state["total"]), _float(state["joules"])
        self._energy = Energy()
        self._start = time.perf_counter()


def _rate(rows: int, seconds: float) -> float | None:
    return rows / seconds if seconds > 0 else None


def _float(value: object) -> float:
    assert isinstance(value, float)
    return value
