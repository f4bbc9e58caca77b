"""Detectors of river's, whose state cannot be read: checkpointed as their inputs."""

from __future__ import annotations

import importlib
import math
from collections import deque
from typing import Any

import torch

from stream_prune.errors import ConfigError
from stream_prune.stateful import State


class ReplayedDetector:
    """Feeds a river detector scaled values and remembers them, so as to rebuild it by replay.

    What is remembered is bounded: when ``history`` values have come in without an alarm, the
    detector is built anew from the latest half of them, in the running process just as after a
    restart, so that both go on alike.

    Args:
        kind: class name in ``river.drift``, or ``binary.NAME`` in ``river.drift.binary``.
        settings: its arguments.
        scale: multiplies every value (river's bounds assume a range of about 1).
        history: values to remember at most.

    Raises:
        ConfigError: river is not installed, or an argument is out of range.
    """

    def __init__(
        self, kind: str, settings: dict[str, Any], scale: float, history: int = 4096
    ) -> None:
        if not scale > 0 or history < 2:
            raise ConfigError(
                f"{kind}: scale = {scale} must be positive and history = {history} at least 2"
            )
        try:
            home, _, name = f"river.drift.{kind}".rpartition(".")
            self._class = getattr(importlib.import_module(home), name)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the drift detector {kind} needs river: pip install 'stream-prune[stream]', "
                "or use Cusum"
            ) from error
        self._kind, self._settings = kind, settings
        self._scale, self._history = scale, history
        self._severity = 0.0
        self.reset()

    @property
    def severity(self) -> float:
        return self._severity

    def reset(self) -> None:
        self._inputs: deque[float] = deque()
        self._detector = self._class(**self._settings)

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            raise ValueError(f"{self._kind}: cannot take in {value}")
        self._inputs.append(value)
        self._feed(value)
        if self._detector.drift_detected:
            self._severity = _shift(list(self._inputs))
            self.reset()
            return True
        if len(self._inputs) >= self._history:
            self._rebuild(list(self._inputs)[-(self._history // 2) :])
        return False

    def _rebuild(self, inputs: list[float]) -> None:
        self.reset()
        self._inputs.extend(inputs)
        for value in inputs:
            self._feed(value)

    def _feed(self, value: float) -> None:
        self._detector.update(value * self._scale)

    def state_dict(self) -> State:
        inputs = torch.tensor(list(self._inputs), dtype=torch.float64)
        return {"inputs": inputs, "severity": self._severity}

    def load_state_dict(self, state: State) -> None:
        inputs, severity = state["inputs"], state["severity"]
        assert isinstance(inputs, torch.Tensor)
        assert isinstance(severity, float)
        self._severity = severity
        self._rebuild(inputs.tolist())


def _shift(values: list[float], recent: int = 8) -> float:
    """How far the latest values lie from those before, in standard deviations of the latter."""
    before, after = values[:-recent], values[-recent:]
    if len(before) < 2:
        return 0.0
    mean = sum(before) / len(before)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in before) / (len(before) - 1))
    return (sum(after) / len(after) - mean) / max(deviation, 1e-6 * abs(mean), 1e-12)
