"""How much of a log is kept: never less than what the slowest trainer still has to learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stream_prune.errors import ConfigError
from stream_prune.minibatch.commit import Commit

ReadCommits: TypeAlias = Callable[[int, int], list[tuple[int, Commit]]]


@dataclass(frozen=True)
class Retention:
    """Batches beyond either bound are removed; their commits, a line each, are kept.

    Attributes:
        age_ms: of event time, up to the last committed window (ms); None: any.
        rows: in the batches that are kept, of a shard; None: any number.
    """

    age_ms: int | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("age", self.age_ms), ("rows", self.rows)):
            if value is not None and value < 1:
                raise ConfigError(f"retention.{name} = {value}: must be 1 or more")
        if self.age_ms is None and self.rows is None:
            raise ConfigError("retention: name age, rows, or both")

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
        large = 0
        if self.rows is not None:
            large = max(_beyond(commits, self.rows) for commits in shards)
        return max(0, min(max(old, large), last - at_least_ms - 1, *holds.values()))


def _beyond(commits: Sequence[Commit], rows: int) -> int:
    """The end of the newest window that does not fit into ``rows`` with those after it."""
    for commit in reversed(commits):
        rows -= commit.rows
        if rows < 0:
            return commit.window_end
    return 0


class KeptCommits:
    """The commits whose batches are still there, by shard; asking again reads only what is new.

    Arguments: ``commits`` of a log, as it offers them; ``shards``: how many it has.
    """

    def __init__(self, commits: ReadCommits, shards: int) -> None:
        self._commits = commits
        self._next = [0] * shards
        self._kept: list[list[Commit]] = [[] for _ in range(shards)]

    def after(self, trimmed: int) -> list[list[Commit]]:
        """Those of windows that end after ``trimmed`` (ms)."""
        for shard, kept in enumerate(self._kept):
            for number, commit in self._commits(shard, self._next[shard]):
                self._next[shard] = number + 1
                kept.append(commit)
        self._kept = [[c for c in kept if c.window_end > trimmed] for kept in self._kept]
        return self._kept
