"""How far a partition was read, and from where a restart reads it for the windows still open."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from beam_jobs.decode import Decoded
from beam_jobs.windows import NEVER


@dataclass
class OpenChunk:
    """A chunk of which ``open_pieces`` windows are open; ``greatest``: event time before it.

    ``decoded``: its rows as they were read, where copies of events are looked for.
    """

    start: int
    greatest: int
    open_pieces: int = 0
    decoded: Decoded | None = None


@dataclass
class Partition:
    """How far a partition was read: next offset, greatest event time so far, whether it ended.

    ``left``: it is idle, and holds no window open. ``clock``: what its watermark is at least (ms).
    """

    offset: int = 0
    greatest: int = NEVER
    ended: bool = False
    left: bool = False
    clock: int = NEVER
    handled: int = 0  # rows before this offset were written, or dead-lettered, before a restart
    chunks: deque[OpenChunk] = field(default_factory=deque)

    def resume(self) -> tuple[int, int]:
        """The lowest chunk start that open windows need, and the greatest event time before it."""
        while self.chunks and not self.chunks[0].open_pieces:
            self.chunks.popleft()
        first = self.chunks[0] if self.chunks else OpenChunk(self.offset, self.greatest)
        return first.start, first.greatest
