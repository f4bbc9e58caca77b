"""Closed windows -> the mini-batch log: batches, dead letters, then the commit that names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import reduce
from itertools import islice
from typing import TYPE_CHECKING, Any

from beam_jobs.closed_window import ClosedWindow
from beam_jobs.dead_letters import Letter
from beam_jobs.windows import cut
from stream_prune.features import LABEL
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.log import last_commits

if TYPE_CHECKING:
    from beam_jobs.letter_topic import LetterTopic
    from stream_prune.minibatch.log import LogWriter, MiniBatchLog

_NO_ROWS = ("unlabelled", "windows", "batches")

GROUP = 1000
"""Windows that are made durable together: a micro-epoch's, unless they are very short."""


@dataclass(frozen=True)
class Reconciliation:
    """What became of every row that was read: ``rows`` is the sum of the eight that follow it.

    ``clicks`` and ``conversions`` counted for a row's label in a join, ``unmatched`` ones have no
    impression there.
    ``unlabelled`` rows are good ones. ``windows`` counts commits, ``batches`` mini-batches.
    """

    rows: int = 0
    good: int = 0
    late: int = 0
    duplicates: int = 0
    invalid: int = 0
    undecodable: int = 0
    clicks: int = 0
    conversions: int = 0
    unmatched: int = 0
    unlabelled: int = 0
    windows: int = 0
    batches: int = 0

    @classmethod
    def of(cls, log: MiniBatchLog, shard: int = 0) -> Reconciliation:
        """Of all commits of a shard: what the last one says; all are read where it does not."""
        last = last_commits(log, shard)
        if last and not last[-1].totals:  # a log that was written before commits had them
            commits = (commit for _, commit in log.commits(shard))
            return reduce(cls.plus, commits, cls())
        totals = last[-1].totals if last else {}
        rows = sum(n for name, n in totals.items() if name not in _NO_ROWS)
        return cls(**{"rows": rows, **totals})

    @property
    def totals(self) -> dict[str, int]:
        """What the commit that ends here says of all up to it."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name != "rows" and getattr(self, f.name)
        }

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
        parts = ["good", "late", "duplicates", "invalid", "undecodable"]
        if self.clicks or self.unmatched:
            parts += ["clicks", *(["conversions"] if self.conversions else []), "unmatched"]
        told = " + ".join(f"{getattr(self, name):,} {name}" for name in parts)
        return f"{self.rows:,} rows = {told}; {self.unlabelled:,} of the good are unlabelled"


class LogSink:
    """Commits the windows of one shard.

    A window's counts are its own good rows, and the other rows that were read since the commit
    before; so the counts of all commits add up to the rows read. ``source`` names a partition;
    ``letter_topic`` takes the dead letters instead of the log's folder; ``done`` is what
    the commits before say.
    """

    def __init__(
        self,
        writer: LogWriter,
        header: LogHeader,
        source: Callable[[int], str],
        *,
        done: Reconciliation | None = None,
        shard: int = 0,
        letter_topic: LetterTopic | None = None,
    ) -> None:
        self._writer, self._header, self._source, self._shard = writer, header, source, shard
        self._letter_topic = letter_topic
        self._letters: list[Letter] = []
        self._done = done or Reconciliation()
        self._outlived: list[str] = []

    @property
    def waiting(self) -> int:
        """Letters that go with the next commit."""
        return len(self._letters)

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
            self._writer.forget_states(self._outlived)
            self._outlived = []
            yield from commits

    def _write(self, window: ClosedWindow) -> Commit:
        """Write what a window holds; the first of an epoch takes the letters along."""
        end = window.window_end
        batches = [] if window.rows is None else cut(window.rows, self._header.batch_rows)
        refs = tuple(self._writer.write_batch(end, i, batch) for i, batch in enumerate(batches))
        self._letters += window.letters
        self._write_letters(end)
        state = tuple(self._writer.write_state(name, data) for name, data in window.state)
        self._outlived += window.forget
        counts = dict.fromkeys(("late", "duplicates", "invalid", "undecodable"), 0)
        counts.update(window.counts)
        for letter in self._letters:
            counts[letter.kind] = counts.get(letter.kind, 0) + 1
        self._letters = []
        counts["good"] = 0 if window.rows is None else window.rows.num_rows
        counts["unlabelled"] = 0 if window.rows is None else window.rows.column(LABEL).null_count
        commit = Commit(
            window_end=end,
            shard=self._shard,
            writer_epoch=self._writer.epoch,
            fingerprint=self._header.fingerprint,
            batches=refs,
            closed_at=window.closed_at,
            resume=window.resume,
            watermark=window.watermark,
            state=state,
            counts=counts,
            end=window.end,
        )
        self._done = self._done.plus(commit)
        return replace(commit, totals=self._done.totals)

    def leave_letters(self) -> None:
        """Write the waiting letters for people to read; the next run removes and rewrites them.

        Raises:
            RunError: they can't be written.
        """
        if self._letter_topic is None:
            self._writer.leave_dead_letters(self._told())
            return
        last = self._writer.last
        window_end = self._header.window_ms + (0 if last is None else last.window_end)
        self._letter_topic.send(window_end, self._letters)

    def _write_letters(self, window_end: int) -> None:
        if self._letter_topic is None:
            self._writer.write_dead_letters(window_end, self._told())
        elif self._letters:
            # First, because it refuses where a newer writer is at work: a topic refuses nobody.
            self._writer.write_dead_letters(window_end, ())
            self._letter_topic.send(window_end, self._letters)

    def _told(self) -> Iterator[dict[str, Any]]:
        return (letter.to_json(self._source(letter.partition)) for letter in self._letters)
