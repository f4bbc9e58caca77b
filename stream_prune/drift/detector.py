"""What every drift detector is."""

from __future__ import annotations

from typing import Protocol

from stream_prune.stateful import State


class Detector(Protocol):
    """Watches a sequence of numbers, one slice loss at a time.

    A detector that has alarmed starts anew with the next value, by itself.
    """

    @property
    def severity(self) -> float:
        """Size of the last alarm's shift in standard deviations; positive: the values rose."""
        ...

    def update(self, value: float) -> bool:
        """Take in a value; True when the sequence has changed."""
        ...

    def reset(self) -> None:
        """Forget everything but the settings."""
        ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...
