"""How much of a log is kept: never less than what the slowest trainer still has to learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stream_prune.errors import ConfigError
from stream_prune.minibatch.commit import Commit

ReadCommits: TypeAlias = Callable[[int, int], list[tuple[int, Commit]]]
Seek: TypeAlias = Callable[[int, int], int]


@dataclass(frozen=True)
class Retention:
    """Batches beyond any bound are removed; their commits, a line each, are kept.

    Attributes:
        age_ms: of event time, up to the last committed window (ms); None: any.
        rows: in the batches that are kept, of a shard; None: any number.
        size: bytes of the batches that are kept, of a shard; None: any.
    """

    age_ms: int | None = None
    rows: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        bounds = (("age", self.age_ms), ("rows", self.rows), ("size", self.size))
        for name, value in bounds:
            if value is not None and value < 1:
                raise ConfigError(f"retention.{name} = {value}: must be 1 or more")
        if all(value is None for _, value in bounds):
            raise ConfigError("retention: name age, rows or size")

    def bound(
        self, shards: Sequence[Sequence[Commit]], holds: Mapping[str, int], at_least_ms: int = 0
    ) -> int:
        """Up to which window end (ms) batches may go; 0: none.

        Args:
            shards: the commits of each shard, in order.
            holds: by reader, the window end up to which it needs nothing any more.
            at_least_ms: how much event time before the last commit stays in any case.
        """
        if not all(shards):
            return 0
        last = min(commits[-1].window_end for commits in shards)
        old = 0 if self.age_ms is None else last - self.age_ms
        large = [
            _beyond([(c.window_end, of(c)) for c in commits], bound)
            for of, bound in ((_rows, self.rows), (_size, self.size))
            if bound is not None
            for commits in shards
        ]
        return max(0, min(max(old, *large, 0), last - at_least_ms - 1, *holds.values()))


def _rows(commit: Commit) -> int:
    return commit.rows


def _size(commit: Commit) -> int:
    return commit.size


def _beyond(windows: Sequence[tuple[int, int]], bound: int) -> int:
    """The end of the newest window that does not fit into ``bound`` with those after it."""
    for window_end, amount in reversed(windows):
        bound -= amount
        if bound < 0:
            return window_end
    return 0


class KeptCommits:
    """The commits whose batches are still there, by shard; asking again reads only what is new.

    Arguments: ``commits`` and ``seek`` of a log, as it offers them; ``shards``: how many it has.
    """

    def __init__(self, commits: ReadCommits, seek: Seek, shards: int) -> None:
        self._commits, self._seek = commits, seek
        self._next: list[int | None] = [None] * shards
        self._kept: list[list[Commit]] = [[] for _ in range(shards)]

    def after(self, trimmed: int) -> list[list[Commit]]:
        """Those of windows that end after ``trimmed`` (ms)."""
        for shard, kept in enumerate(self._kept):
            start = self._next[shard]
            if start is None:
                start = self._seek(shard, trimmed)
            for number, commit in self._commits(shard, start):
                self._next[shard] = number + 1
                kept.append(commit)
        self._kept = [[c for c in kept if c.window_end > trimmed] for kept in self._kept]
        return self._kept
