"""The replay job: a log on disk becomes a mini-batch log, in micro-epochs, to be continued at will.

The pipeline reads, decodes, validates and splits by window; this driver puts the chunks into the
window buffer in their order and commits what closes. Kill it at any moment and start it again: the
windows are those of an undisturbed run, bit for bit, and each dead letter is there once.

Where the specification has an event key, a window keeps one row of a key; copies are dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from beam_jobs.bad_share import BadShare
from beam_jobs.dead_letters import INVALID, UNDECODABLE
from beam_jobs.decode import Decode, Formats
from beam_jobs.epoch_results import Wording, add_epoch
from beam_jobs.epochs import MicroEpochs
from beam_jobs.join import Join
from beam_jobs.join_rows import ToJoinable
from beam_jobs.log_source import UNREADABLE, FileSource, Range, ReadLog
from beam_jobs.open_source import create_log, open_source
from beam_jobs.options import ReplayOptions
from beam_jobs.sink import LogSink, Reconciliation
from beam_jobs.validate import Validate
from beam_jobs.window_buffer import WindowBuffer
from beam_jobs.windows import NEVER, AssignWindows
from stream_prune.errors import RunError
from stream_prune.minibatch.log import last_commits


@dataclass(frozen=True)
class Progress:
    """How far a replay is: rows read (of ``total`` if that is known), windows committed, its clock.

    ``watermark``: event time (ms) that every file has reached, None before the first rows.
    """

    rows: int
    total: int | None
    windows: int
    watermark: int | None
    seconds: float


class ToWindows(beam.PTransform):  # type: ignore[misc]
    """Ranges of rows -> chunks split by window, letters, and messages about unreadable files."""

    def __init__(self, source: FileSource, options: ReplayOptions) -> None:
        super().__init__()
        self._source, self._options = source, options

    def expand(self, ranges: Any) -> dict[str, Any]:
        read = ranges | "read" >> ReadLog(self._source)
        forms = Formats(csv=self._options.csv)
        if self._options.join is not None:
            return self._joined(read, forms)
        decoded = read.chunks | "decode" >> Decode(self._options.spec, forms)
        valid = decoded.decoded | "validate" >> Validate(self._options.spec)
        windowed = valid.validated | "assign windows" >> AssignWindows(self._options.window_ms)
        return {
            "windowed": windowed,
            UNDECODABLE: decoded[UNDECODABLE],
            INVALID: valid[INVALID],
            UNREADABLE: (read[UNREADABLE], decoded[UNREADABLE]) | "unreadable" >> beam.Flatten(),
        }

    def _joined(self, read: Any, forms: Formats) -> dict[str, Any]:
        assert self._options.join is not None
        assert self._source.clicks_from is not None
        found = read.chunks | "both kinds" >> ToJoinable(
            self._options.spec, self._options.join, forms, self._source.clicks_from
        )
        windowed = found.pop("validated") | "assign windows" >> AssignWindows(
            self._options.window_ms
        )
        unreadable = (read[UNREADABLE], found.pop(UNREADABLE)) | "unreadable" >> beam.Flatten()
        return {"windowed": windowed, UNREADABLE: unreadable, **found}


def replay(
    options: ReplayOptions, progress: Callable[[Progress], None] = lambda _: None
) -> Reconciliation:
    """Write the mini-batch log of ``options.files``, or what is missing of it.

    Args:
        options: what to read, how, and where to.
        progress: called after every epoch.

    Returns:
        What became of every row, over all runs that wrote the log.

    Raises:
        ConfigError: a file, column or log that cannot go with these options.
        RunError: a file can't be read, the log can't be written, or more than
            ``options.max_bad_share`` of the rows are bad.
    """
    started = time.monotonic()
    with (
        closing(open_source(options)) as source,
        closing(create_log(options, source)) as log,
        closing(log.writer(0)) as writer,
    ):
        done = Reconciliation.of(log)
        if writer.last is not None and writer.last.end:
            return done
        join = None if options.join is None else _join(options, source)
        if join is not None:
            recent = last_commits(log, 0, join.delay_ms)
            writer.keep_states(join.restore(recent, log.read_state))
        buffer = WindowBuffer(
            options.window_ms,
            options.out_of_orderness_ms,
            range(len(source.files)),
            options.max_jump_ms,
            writer.last if join is None else join.source(writer.last),
            keyed=options.spec.event_key is not None,
            joined=join is not None,
        )

        def name(partition: int) -> str:
            return str(source.files[partition])

        sink = LogSink(writer, log.header, name, done=done)
        bad = BadShare(options.max_bad_share, name, log.dead_letters, done)
        epochs = MicroEpochs(ToWindows(source, options))
        total = source.rows()
        while not buffer.ended:
            letters = add_epoch(
                epochs.run(plan(buffer, options)),
                buffer,
                Wording("this file", options.spec.event_time, options.max_jump_ms),
            )
            sink.take(letters)
            bad.take(letters)
            try:
                bad.check(buffer.rows_read, at_end=buffer.ended)
            except RunError:
                sink.leave_letters()
                raise
            closed = buffer.close()
            for commit in sink.commit(closed if join is None else join.take_all(closed)):
                done = done.plus(commit)
            clock = None if buffer.watermark == NEVER else buffer.watermark
            seconds = time.monotonic() - started
            progress(Progress(buffer.rows_read, total, done.windows, clock, seconds))
    if done.rows != buffer.rows_read:
        raise RunError(f"{log.place}: {buffer.rows_read:,} rows were read, but {done}")
    return done


def _join(options: ReplayOptions, source: FileSource) -> Join:
    assert options.join is not None
    clicks_from = source.clicks_from
    later = source.conversions_from
    return Join(
        options.window_ms,
        options.join,
        lambda numbers: numbers >= clicks_from,
        is_conversion=None if later is None else lambda numbers: numbers >= later,
    )


def plan(buffer: WindowBuffer, options: ReplayOptions) -> list[Range]:
    """The ranges to read next: from the files that hold the clock back, so that windows close.

    A file of which nothing is known yet gets one chunk.
    """
    running = {i: p for i, p in buffer.partitions.items() if not p.ended}
    new = [i for i, p in running.items() if p.greatest == NEVER]
    slowest = min(p.greatest for p in running.values())
    chosen = new or [i for i, p in running.items() if p.greatest <= slowest + options.window_ms]
    chosen = chosen[: options.epoch_rows]
    rows = options.epoch_rows // len(chosen)
    if new and len(running) > 1:
        rows = min(rows, options.chunk_rows)
    step = min(options.chunk_rows, rows)
    return [
        Range(i, running[i].offset + start, min(step, rows - start))
        for i in chosen
        for start in range(0, rows, step)
    ]
