"""Closed windows -> the mini-batch log: batches, dead letters, then the commit that names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from beam_jobs.dead_letters import Letter
from beam_jobs.window_buffer import ClosedWindow
from beam_jobs.windows import cut
from stream_prune.features import LABEL
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.header import LogHeader

if TYPE_CHECKING:
    from stream_prune.minibatch.log import LogWriter

GROUP = 1000
"""Windows that are made durable together: a micro-epoch's, unless they are very short."""


@dataclass(frozen=True)
class Reconciliation:
    """What became of every row that was read: ``rows`` is the sum of the five that follow it.

    ``unlabelled`` rows are good ones. ``windows`` counts commits, ``batches`` mini-batches.
    """

    rows: int = 0
    good: int = 0
    late: int = 0
    duplicates: int = 0
    invalid: int = 0
    undecodable: int = 0
    unlabelled: int = 0
    windows: int = 0
    batches: int = 0

    def plus(self, commit: Commit) -> Reconciliation:
        """With what a commit counts."""
        more = {
            **commit.counts,
            "rows": sum(n for name, n in commit.counts.items() if name != "unlabelled"),
            "windows": 1,
            "batches": len(commit.batches),
        }
        return Reconciliation(
            **{f.name: getattr(self, f.name) + more.get(f.name, 0) for f in fields(self)}
        )

    def __str__(self) -> str:
        parts = ("good", "late", "duplicates", "invalid", "undecodable")
        told = " + ".join(f"{getattr(self, name):,} {name}" for name in parts)
        return f"{self.rows:,} rows = {told}; {self.unlabelled:,} of the good are unlabelled"


class LogSink:
    """Commits the windows of one shard.

    A window's counts are its own good rows, and the other rows that were read since the commit
    before; so the counts of all commits add up to the rows read.
    """

    def __init__(
        self, writer: LogWriter, header: LogHeader, files: Sequence[Path], *, shard: int = 0
    ) -> None:
        self._writer, self._header, self._files, self._shard = writer, header, files, shard
        self._letters: list[Letter] = []

    def take(self, letters: Iterable[Letter]) -> None:
        """Keep letters for the next commit."""
        self._letters += letters

    def commit(self, windows: Iterable[ClosedWindow]) -> Iterator[Commit]:
        """Write windows and commit them, GROUP at a time: a disk is waited for once a group.

        Raises:
            RunError: they can't be written, or a newer writer is at work.
        """
        waiting = iter(windows)
        while commits := [self._write(window) for window in islice(waiting, GROUP)]:
            self._writer.commit(commits)
            yield from commits

    def _write(self, window: ClosedWindow) -> Commit:
        """Write what a window holds; the first of an epoch takes the letters along."""
        end = window.window_end
        batches = [] if window.rows is None else cut(window.rows, self._header.batch_rows)
        refs = tuple(self._writer.write_batch(end, i, batch) for i, batch in enumerate(batches))
        self._write_letters(end)
        counts = dict.fromkeys(("late", "duplicates", "invalid", "undecodable"), 0)
        for letter in self._letters:
            counts[letter.kind] += 1
        self._letters = []
        counts["good"] = 0 if window.rows is None else window.rows.num_rows
        counts["unlabelled"] = 0 if window.rows is None else window.rows.column(LABEL).null_count
        return Commit(
            window_end=end,
            shard=self._shard,
            writer_epoch=self._writer.epoch,
            fingerprint=self._header.fingerprint,
            batches=refs,
            closed_at=window.closed_at,
            resume=window.resume,
            watermark=window.watermark,
            counts=counts,
            end=window.end,
        )

    def leave_letters(self) -> None:
        """Write the waiting letters for people to read; the next run removes and rewrites them.

        Raises:
            RunError: they can't be written.
        """
        last = self._writer.last
        self._write_letters(self._header.window_ms + (0 if last is None else last.window_end))

    def _write_letters(self, window_end: int) -> None:
        letters = (letter.to_json(str(self._files[letter.partition])) for letter in self._letters)
        self._writer.write_dead_letters(window_end, letters)
