"""What every mini-batch log offers, wherever it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from stream_prune.errors import RunError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch
from stream_prune.minibatch.commit import BatchRef, Commit
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.retention import Retention

FOREVER = 2**62
"""After the end of every window (ms)."""


class StaleWriter(RunError):  # noqa: N818  a state to handle, like StopIteration
    """A newer writer has claimed the shard; this one can do nothing any more."""


class LogWriter(Protocol):
    """The one writer of a shard: batches and dead letters first, then their commit."""

    shard: int
    epoch: int
    last: Commit | None
    """The shard's last commit, by whatever writer; None before the first."""

    def write_batch(self, window_end: int, index: int, batch: pa.RecordBatch) -> BatchRef:
        """Write batch ``index`` of a window; idempotent for the same rows."""

    def write_dead_letters(self, window_end: int, letters: Iterable[Mapping[str, Any]]) -> None:
        """Keep what can't be learned from, with the commit of ``window_end``."""

    def write_state(self, name: str, data: bytes) -> tuple[str, str]:
        """Keep an Arrow file for the commit that names it; returns what it is named there."""

    def keep_states(self, names: Iterable[str]) -> None:
        """Remove all state of the shard but what has these names."""

    def forget_states(self, names: Iterable[str]) -> None:
        """Remove what was written under these names; no restart needs it any more."""

    def leave_dead_letters(self, letters: Iterable[Mapping[str, Any]]) -> None:
        """Show letters that no commit will name, because the job stops; the next writes them."""

    def commit(self, commits: Sequence[Commit]) -> None:
        """Close windows for good, in order; all that they name becomes durable together."""

    def close(self) -> None:
        """Let go of connections; a writer of a folder has none."""


def last_commits(log: MiniBatchLog, shard: int, span_ms: int = 0) -> list[Commit]:
    """The last commit of a shard, and those of so much event time before it, in order."""
    newest = [commit for _, commit in log.commits(shard, log.seek(shard, FOREVER))]
    if not newest or not span_ms:
        return newest[-1:]
    start = log.seek(shard, newest[-1].window_end - span_ms)
    return [commit for _, commit in log.commits(shard, start)]


class MiniBatchLog(Protocol):
    """Shards, each a sequence of commits, and the batches that they name."""

    header: LogHeader

    @property
    def place(self) -> str:
        """Where the log is, for messages."""

    @property
    def dead_letters(self) -> str:
        """Where its dead letters are, for messages."""

    @property
    def spec(self) -> FeatureSpec: ...

    def agree(self, name: str, text: str) -> str:
        """Say something about the log once; returns what the log says under that name."""

    def agreed(self, name: str) -> str | None:
        """What was said under a name; None if nothing was."""

    def writer(self, shard: int) -> LogWriter:
        """Claim a shard."""

    def commits(self, shard: int, start: int = 0) -> list[tuple[int, Commit]]:
        """The commits of a shard from sequence number ``start`` on, each with its number."""

    def seek(self, shard: int, window_end: int) -> int:
        """The number of the last commit that ends by then, 0 if none does; few records are read."""

    def hold(self, reader: str, window_end: int) -> None:
        """A reader needs all windows that end after this one; those before it may go."""

    def trim(self, retention: Retention, at_least_ms: int = 0) -> int:
        """Remove what need not be kept; returns up to which window end batches are gone."""

    def trimmed(self) -> int:
        """Up to which window end batches are gone; 0: none are."""

    def read_arrow(self, name: BatchName, ref: BatchRef) -> pa.RecordBatch:
        """A batch as written, its digest verified."""

    def read_state(self, name: str, digest: str) -> pa.RecordBatch:
        """What a commit names as state, its digest verified."""

    def read(self, name: BatchName, ref: BatchRef, spec: FeatureSpec) -> MiniBatch:
        """A batch as arrays, its digest verified."""

    def close(self) -> None:
        """Let go of connections; a folder has none."""
