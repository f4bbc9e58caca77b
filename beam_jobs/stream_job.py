"""What becomes of a stream's chunks, whichever host reads them: windows, then commits.

The same window buffer and sink as in a replay put the rows in their order and commit what closes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from beam_jobs.bad_share import BadShare
from beam_jobs.epoch_results import Wording, add_epoch
from beam_jobs.idle_partitions import IdlePartitions
from beam_jobs.join import Join
from beam_jobs.letter_topic import LetterTopic
from beam_jobs.sink import LogSink, Reconciliation
from beam_jobs.stream_options import StreamOptions
from beam_jobs.stream_start import add_new_partitions, start_reading
from beam_jobs.topic_reader import TopicReader
from beam_jobs.window_buffer import WindowBuffer
from beam_jobs.windows import NEVER, Windowed
from stream_prune.errors import RunError
from stream_prune.minibatch.log import LogWriter, MiniBatchLog, last_commits

METADATA_SECONDS = 5.0
"""How often the cluster is asked for topics and partitions."""

RETENTION_SECONDS = 60.0
"""How often the log is asked to remove what need not be kept."""

BAD_SHARE_ROWS = 200_000
"""A stream's share of bad events is that among about so many last ones."""


@dataclass(frozen=True)
class Epoch:
    """What a micro-epoch did, and how the job stands after it.

    Attributes:
        rows: events read.
        seconds: from the first poll to the end of the commit.
        commit_seconds: part of it for windows that closed; None if none did.
        windows: how many closed.
        committed: end (ms) of the last committed window; None before the first.
        watermark: event time (ms) that windows close by; None while a partition has none.
        lag: events in the topics that have not been read, as far as is known.
        open_rows: rows in open windows.
        counts: what became of all events so far, over all runs.
        held_back: partitions are not read because too many rows wait for others.
        silent_seconds: since the cluster has answered, if it did not when it was asked last.
    """

    rows: int
    seconds: float
    commit_seconds: float | None
    windows: int
    committed: int | None
    watermark: int | None
    lag: int
    open_rows: int
    counts: Reconciliation
    held_back: bool
    silent_seconds: float | None


class StreamJob:
    """What becomes of chunks that were read, whichever host reads them: windows, then commits."""

    def __init__(
        self,
        options: StreamOptions,
        log: MiniBatchLog,
        writer: LogWriter,
        reader: TopicReader,
    ) -> None:
        self._options, self._reader, self._writer = options, reader, writer
        self._log = log
        self._join = _join(options)
        if self._join is not None:
            recent = last_commits(log, 0, self._join.delay_ms)
            writer.keep_states(self._join.restore(recent, log.read_state))
        self._restored = self._waiting_impressions
        self._buffer = WindowBuffer(
            options.window_ms,
            options.out_of_orderness_ms,
            (),
            options.max_jump_ms,
            writer.last if self._join is None else self._join.source(writer.last),
            keyed=options.spec.event_key is not None,
            joined=self._join is not None,
        )
        self.done = Reconciliation.of(log)
        self._before = self.done
        self.log_ended = writer.last is not None and writer.last.end
        self._wording = Wording("its partition", options.spec.event_time, options.max_jump_ms)
        self._taken = 0
        self._answers = True

    @property
    def ended(self) -> bool:
        """Every partition was read to its end."""
        return self._buffer.ended

    @property
    def ended_partitions(self) -> frozenset[int]:
        """Partitions that have nothing more to read."""
        return frozenset(n for n, p in self._buffer.partitions.items() if p.ended)

    @property
    def positions(self) -> dict[int, int]:
        """Per partition the offset of the next row."""
        return {number: p.offset for number, p in self._buffer.partitions.items()}

    def add_new_partitions(self) -> None:
        """Ask for partitions that topics have got meanwhile."""
        self._answers = add_new_partitions(self._reader, self._buffer)

    @contextmanager
    def started(self) -> Iterator[dict[int, int]]:
        """Find where reading goes on, and what takes the letters; gives each partition's end."""
        ends = start_reading(
            self._options, self._reader, self._log, self._writer.last, self._buffer
        )
        now = time.monotonic()
        self._idle = IdlePartitions(self._options.idle, self._options.idle_ms, now)
        self._asked = self._trimmed = now
        with self._letters() as letter_topic:
            self._sink = LogSink(
                self._writer,
                self._log.header,
                self._name,
                done=self.done,
                letter_topic=letter_topic,
            )
            where = self._log.dead_letters if letter_topic is None else letter_topic.place
            self._bad = BadShare(
                self._options.max_bad_share,
                self._name,
                where,
                Reconciliation(),
                among=BAD_SHARE_ROWS,
            )
            yield ends

    @contextmanager
    def _letters(self) -> Iterator[LetterTopic | None]:
        topic, last = self._options.letter_topic, self._writer.last
        if topic is None:
            yield None
            return
        after = -1 if last is None else last.window_end
        with closing(LetterTopic(self._options.kafka, topic, self._log, after)) as letters:
            yield letters

    def _name(self, number: int) -> str:
        topic, partition = self._reader.name(number)
        return f"{topic}[{partition}]"

    def take(
        self, harvest: Mapping[str, list[Any]], started: float, held_back: bool = False
    ) -> Epoch:
        """Put what was read into windows, and commit those that close.

        Args:
            harvest: by name what :class:`ToWindows` makes: of each partition the next chunks.
            started: when reading it began (s, of a steady clock).
            held_back: for what is told.

        Raises:
            RunError: something read stops the job, or the log can't be written.
        """
        buffer, reader = self._buffer, self._reader
        rows = self._count(harvest)
        letters = add_epoch(harvest, buffer, self._wording)
        self._sink.take(letters)
        self._bad.take(letters, rows)
        self._check_share()
        self._settle(harvest)
        closing_at = time.monotonic()
        windows = 0
        closed = buffer.close()
        for commit in self._sink.commit(
            closed if self._join is None else self._join.take_all(closed)
        ):
            self.done = self.done.plus(commit)
            windows += 1
        last = self._writer.last
        if windows and last is not None:
            reader.commit({int(name): offset for name, offset in last.closed_at.items()})
        now = time.monotonic()
        return Epoch(
            rows=rows,
            seconds=now - started,
            commit_seconds=now - closing_at if windows else None,
            windows=windows,
            committed=None if last is None else last.window_end,
            watermark=None if buffer.watermark == NEVER else buffer.watermark,
            lag=sum(max(0, (reader.end(n) or 0) - reader.position(n)) for n in buffer.partitions),
            open_rows=buffer.open_rows,
            counts=self.done,
            held_back=held_back,
            silent_seconds=None if self._answers else self._idle.silence(now),
        )

    def hold_back(self) -> bool:
        """Read no partition further that is ahead of others while too many rows wait for those."""
        partitions = self._buffer.partitions
        paused = {number for number, p in partitions.items() if p.ended}
        too_many = self._buffer.open_rows > self._options.max_open_rows
        if too_many:
            slowest = min(p.greatest for p in partitions.values() if not (p.ended or p.left))
            paused |= {
                number
                for number, p in partitions.items()
                if p.greatest > slowest + self._options.window_ms
            }
        self._reader.pause(paused)
        return too_many

    def _count(self, harvest: Mapping[str, list[Any]]) -> int:
        """Events of an epoch; those that no earlier run has dealt with are remembered."""
        rows = 0
        chunks: list[Windowed] = harvest.get("windowed", [])
        for chunk in chunks:
            records = chunk.decoded.records
            assert records is not None
            handled = self._buffer.partitions[chunk.decoded.partition].handled
            rows += len(records.offsets)
            self._taken += int((records.offsets >= handled).sum())
        return rows

    def _check_share(self) -> None:
        try:
            self._bad.check_recent(at_end=self._buffer.ended)
        except RunError:
            self._sink.leave_letters()
            raise

    def _settle(self, harvest: Mapping[str, list[Any]]) -> None:
        """What does not happen in every epoch: new partitions, idle ones."""
        now = time.monotonic()
        if now - self._asked >= METADATA_SECONDS:
            self._answers = add_new_partitions(self._reader, self._buffer)
            if self._answers:
                self._idle.answered(now)
            self._asked = time.monotonic()
        if self._options.retention is not None and now - self._trimmed >= RETENTION_SECONDS:
            delay = 0 if self._join is None else self._join.delay_ms
            self._log.trim(self._options.retention, delay)
            self._trimmed = now
        got = {
            c.decoded.partition
            for c in harvest.get("windowed", [])
            if len(c.decoded.records.offsets)
        }
        caught_up = {
            number
            for number in self._buffer.partitions
            if (end := self._reader.end(number)) is not None
            and self._reader.position(number) >= end
        }
        self._idle.update(self._buffer.partitions, got, caught_up, now, int(time.time() * 1000))

    @property
    def _waiting_impressions(self) -> int:
        return 0 if self._join is None else len(self._join.pending)

    def check(self) -> None:
        """Raises RunError unless every event that was read is accounted for."""
        committed = self.done.rows - self._before.rows
        waiting = self._buffer.open_rows + self._sink.waiting + self._waiting_impressions
        if self._taken + self._buffer.retaken + self._restored != committed + waiting:
            raise RunError(
                f"{self._log.place}: {self._taken:,} events were read and "
                f"{self._buffer.retaken:,} taken up again, but {committed:,} are committed and "
                f"{waiting:,} wait: this is a fault of the program: keep the log and report it"
            )


def _join(options: StreamOptions) -> Join | None:
    if options.join is None:
        return None
    first = options.clicks_from
    later = options.conversions_from
    return Join(
        options.window_ms,
        options.join,
        lambda numbers: numbers >= first,
        is_conversion=None if later is None else lambda numbers: numbers >= later,
    )
