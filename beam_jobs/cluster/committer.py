"""The writer of a log on a cluster: takes parcels, holds open windows, commits what closes."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import Any

from beam_jobs.cluster.heard import HeardReader
from beam_jobs.cluster.parcel import Parcel
from beam_jobs.cluster.readings import Readings
from beam_jobs.dead_letters import INVALID, UNDECODABLE, Letter
from beam_jobs.log_source import UNREADABLE
from beam_jobs.stream_job import StreamJob
from beam_jobs.stream_options import StreamOptions
from beam_jobs.topic_reader import open_reader
from beam_jobs.validate import Validated
from beam_jobs.windows import Windowed, assign
from stream_prune.errors import RunError
from stream_prune.minibatch.open_log import open_log

SILENT_SECONDS = 60.0
"""How long a reader may say nothing; it tells how it stands after every poll."""


class Interrupted(Exception):  # noqa: N818  a state to handle, like StopIteration
    """What comes does not follow what came: a writer has to start anew, with a new reading."""


class ReaderLostError(RunError):
    """A reader has not been heard of for long while others were: its runner has lost it."""


class Committer:
    """Claims the log, says from where it is to be read, and writes what comes from there.

    Args:
        options: as of the job on one machine.
        job: the submission.
        to_end: stop where the topics end now.

    Raises:
        RunError: the log can't be written, another job writes it, or no broker answers.
    """

    def __init__(self, options: StreamOptions, job: str, *, to_end: bool) -> None:
        self._options = options
        self._pending: list[Windowed] = []
        self._letters: list[Letter] = []
        self._rows = 0
        self._heard_at = dict.fromkeys(range(options.readers), time.monotonic())
        with ExitStack() as opened:
            log = open_log(options.log)
            readings = Readings(log)
            readings.refuse_superseded(job)
            self._heard = HeardReader(open_reader(options.reading))
            opened.enter_context(closing(self._heard))
            writer = log.writer(0)
            opened.enter_context(closing(writer))
            self._job = StreamJob(options, log, writer, self._heard)
            if self._job.log_ended:
                self.reading = 0
            else:
                ends = opened.enter_context(self._job.started())
                self._next = self._job.positions
                said = readings.begin(job, self._next, ends if to_end else None)
                self.reading = said.number
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let go of everything; open windows are read again by the next one."""
        self._opened.close()

    def take(self, parcel: Parcel) -> None:
        """Take a parcel of this reading; others belong to nobody.

        Raises:
            Interrupted: rows are missing before it, or a newer reading has begun.
            ReaderLostError: one of the readers is not there any more.
            RunError: the job has to stop.
        """
        if parcel.reading > self.reading > 0:
            raise Interrupted(f"reading {parcel.reading} has begun after {self.reading}")
        if self._job.log_ended or self._job.ended:
            return
        if parcel.unreadable and parcel.reading in (0, self.reading):
            self._job.take({UNREADABLE: list(parcel.unreadable)}, time.monotonic())
        if parcel.reading != self.reading:
            return
        self._require_all(parcel.reader)
        chunk = parcel.chunk
        if chunk is not None:
            self._add(chunk, parcel)
        else:
            self._heard.hear(parcel.positions, parcel.ends)
        if chunk is None or self._rows >= self._options.epoch_rows:
            self._settle()

    def _require_all(self, reader: int | None) -> None:
        if reader is None:
            return
        now = time.monotonic()
        self._heard_at[reader] = now
        last = min(self._heard_at, key=self._heard_at.__getitem__)
        silent = now - self._heard_at[last]
        if silent > SILENT_SECONDS:
            raise ReaderLostError(
                f"{self._options.log}: reader {last} of {self._options.readers} has said nothing "
                f"for {silent:.0f} s while others have: its runner has lost it"
            )

    def _add(self, chunk: Validated, parcel: Parcel) -> None:
        decoded = chunk.decoded
        if decoded.partition not in self._next:
            self._job.add_new_partitions()
            self._next = self._job.positions | self._next
        reached = self._next[decoded.partition]
        if decoded.stop <= reached and not (decoded.ends and decoded.start == reached):
            return  # a reader that had to begin again sends what it has sent before
        if decoded.start != reached:
            raise Interrupted(
                f"partition {decoded.partition}: [{decoded.start}, {decoded.stop}) came, "
                f"{reached} is next"
            )
        self._next[decoded.partition] = decoded.stop
        self._pending.append(assign(chunk, self._options.window_ms))
        self._letters += parcel.told()
        self._rows += decoded.stop - decoded.start

    def _settle(self) -> None:
        """Put what has come into windows, and commit those that close."""
        harvest: dict[str, list[Any]] = {
            "windowed": self._pending,
            UNDECODABLE: [letter for letter in self._letters if letter.kind == UNDECODABLE],
            INVALID: [letter for letter in self._letters if letter.kind == INVALID],
        }
        self._pending, self._letters, self._rows = [], [], 0
        self._job.take(harvest, time.monotonic())
        if self._job.ended:
            self._job.check()
