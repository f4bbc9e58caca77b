"""A vote: an alarm where several detectors agree."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stream_prune.drift.detector import Detector
from stream_prune.errors import ConfigError
from stream_prune.stateful import State


class Vote:
    """Feeds several detectors with the same values and alarms where enough of them have lately.

    Args:
        detectors: the voters.
        need: so many of them.
        within: an alarm of a voter counts for so many values, its own included.

    Raises:
        ConfigError: fewer voters than are needed, or no time to agree.
    """

    def __init__(self, detectors: Sequence[Detector], need: int = 2, within: int = 8) -> None:
        if not 1 <= need <= len(detectors) or within < 1:
            raise ConfigError(
                f"vote: need = {need} must be in [1, {len(detectors)}], the number of detectors, "
                f"and within = {within} at least 1"
            )
        self.detectors, self.need, self.within = tuple(detectors), need, within
        self._severity = 0.0
        self._left = [0] * len(detectors)
        self._found = [0.0] * len(detectors)

    @property
    def severity(self) -> float:
        """The greatest of the voters' that agreed."""
        return self._severity

    def reset(self) -> None:
        for detector in self.detectors:
            detector.reset()
        self._left = [0] * len(self.detectors)

    def update(self, value: float) -> bool:
        self._left = [max(0, left - 1) for left in self._left]
        for place, detector in enumerate(self.detectors):
            if detector.update(value):
                self._left[place], self._found[place] = self.within, detector.severity
        agreed = [found for found, left in zip(self._found, self._left, strict=True) if left]
        if len(agreed) < self.need:
            return False
        self._severity = max(agreed, key=abs)
        self.reset()
        return True

    def state_dict(self) -> State:
        state: State = {
            "severity": self._severity,
            "left": torch.tensor(self._left, dtype=torch.int64),
            "found": torch.tensor(self._found, dtype=torch.float64),
        }
        for place, detector in enumerate(self.detectors):
            state |= {f"{place}/{key}": value for key, value in detector.state_dict().items()}
        return state

    def load_state_dict(self, state: State) -> None:
        severity, left, found = state["severity"], state["left"], state["found"]
        assert isinstance(severity, float)
        assert isinstance(left, torch.Tensor)
        assert isinstance(found, torch.Tensor)
        self._severity, self._left, self._found = severity, left.tolist(), found.tolist()
        for place, detector in enumerate(self.detectors):
            start = f"{place}/"
            detector.load_state_dict(
                {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            )
