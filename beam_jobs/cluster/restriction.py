"""How far a reader has come, as a runner keeps it: a restriction that only ever moves on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider


@dataclass(frozen=True)
class Position:
    """Next offsets, by partition, within a reading; ``finished``: there is nothing to be read."""

    reading: int = 0
    offsets: tuple[tuple[int, int], ...] = ()
    finished: bool = False


class PositionTracker(RestrictionTracker):  # type: ignore[misc]
    """Takes each new position; what is left after it can be split off, nothing else can."""

    def __init__(self, position: Position) -> None:
        self._position = position
        self._split = False

    def current_restriction(self) -> Position:
        return self._position

    def try_claim(self, position: Position) -> bool:
        if self._split:
            return False
        self._position = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Position, Position] | None:
        """All that is left, after the last claim; a part of it is nothing that could be named."""
        if fraction_of_remainder > 0 or self._split or self._position.finished:
            return None
        self._split = True
        return self._position, self._position

    def check_done(self) -> None:
        if not (self._split or self._position.finished):
            raise ValueError(f"reading stopped at {self._position} without being told to")

    def current_progress(self) -> RestrictionProgress:
        done = float(self._position.finished)
        return RestrictionProgress(completed=done, remaining=1 - done)

    def is_bounded(self) -> bool:
        return False


class Positions(RestrictionProvider):  # type: ignore[misc]
    """Readers begin wherever the newest reading says."""

    def initial_restriction(self, element: Any) -> Position:  # noqa: ARG002
        return Position()

    def create_tracker(self, restriction: Position) -> PositionTracker:
        return PositionTracker(restriction)

    def restriction_size(self, element: Any, restriction: Position) -> int:  # noqa: ARG002
        return 1
