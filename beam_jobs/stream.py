"""The streaming job: topics become a mini-batch log, in micro-epochs, until it is told to stop.

The pipeline polls, decodes, validates and splits by window; :class:`StreamJob` commits. The log's
last commit alone says where a restart reads on: kill the job at any moment and start it again, and
with ``idle: wait`` the windows are those of an undisturbed run, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Any

import apache_beam as beam

from beam_jobs.dead_letters import INVALID, UNDECODABLE
from beam_jobs.decode import Decode
from beam_jobs.epochs import MicroEpochs
from beam_jobs.join_options import JoinOptions
from beam_jobs.join_rows import ToJoinable
from beam_jobs.log_of_source import log_of_source
from beam_jobs.log_source import UNREADABLE
from beam_jobs.sink import Reconciliation
from beam_jobs.stream_job import Epoch, StreamJob
from beam_jobs.stream_options import StreamOptions
from beam_jobs.topic_reader import TopicReader, open_reader
from beam_jobs.topic_source import Poll, ReadTopics, lend, take_back
from beam_jobs.validate import Validate
from beam_jobs.windows import AssignWindows
from stream_prune.errors import RunError
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.log import MiniBatchLog


class ToWindows(beam.PTransform):  # type: ignore[misc]
    """Polls -> chunks split by window, letters, and messages about what stops the job."""

    def __init__(self, reader: str, options: StreamOptions) -> None:
        super().__init__()
        self._reader, self._options = reader, options

    def expand(self, polls: Any) -> dict[str, Any]:
        options = self._options
        read = polls | "read" >> ReadTopics(self._reader)
        if options.join is not None:
            return self._joined(read, options.join)
        decoded = read.chunks | "decode" >> Decode(options.spec, options.forms)
        valid = decoded.decoded | "validate" >> Validate(options.spec, options.max_jump_ms)
        windowed = valid.validated | "assign windows" >> AssignWindows(options.window_ms)
        return {
            "windowed": windowed,
            UNDECODABLE: decoded[UNDECODABLE],
            INVALID: valid[INVALID],
            UNREADABLE: (read[UNREADABLE], decoded[UNREADABLE]) | "unreadable" >> beam.Flatten(),
        }

    def _joined(self, read: Any, join: JoinOptions) -> dict[str, Any]:
        options = self._options
        found = read.chunks | "both kinds" >> ToJoinable(
            options.spec, join, options.forms, options.clicks_from, options.max_jump_ms
        )
        rows = found.pop("validated") | "assign windows" >> AssignWindows(options.window_ms)
        unreadable = (read[UNREADABLE], found.pop(UNREADABLE)) | "unreadable" >> beam.Flatten()
        return {"windowed": rows, UNREADABLE: unreadable, **found}


def stream(
    options: StreamOptions,
    *,
    to_end: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Epoch], None] = lambda _: None,
) -> Reconciliation:
    """Write the mini-batch log of topics, until ``stop`` says so.

    Args:
        options: what to read, how, and where to.
        to_end: read up to where the topics end now, close every window and end the log.
        stop: asked after every epoch; what is in open windows then is read again by the next run.
        progress: called after every epoch.

    Returns:
        What became of every event that a commit covers, over all runs that wrote the log.

    Raises:
        ConfigError: settings, schemas or a log that cannot go together.
        RunError: a topic can't be read, the log can't be written, a newer job writes it, or more
            than ``options.max_bad_share`` of the events are bad.
    """
    with (
        closing(create_log(options)) as log,
        closing(open_reader(options.reading)) as reader,
        closing(log.writer(0)) as writer,
    ):
        job = StreamJob(options, log, writer, reader)
        if job.log_ended:
            if to_end:
                return job.done
            raise log_has_ended(log)
        with job.started() as ends, lent(reader) as key:
            epochs = MicroEpochs(ToWindows(key, options))
            while not job.ended and not stop():
                started, held_back = time.monotonic(), job.hold_back()
                seconds, until = options.epoch_ms / 1000, ends if to_end else None
                poll = Poll(options.epoch_rows, seconds, until, job.ended_partitions)
                progress(job.take(epochs.run([poll]), started, held_back))
        job.check()
        return job.done


def log_has_ended(log: MiniBatchLog) -> RunError:
    """For a job without an end whose log has one."""
    return RunError(
        f"{log.place}: the log has ended: nothing can follow its last window: stream into "
        "another one"
    )


def create_log(options: StreamOptions) -> MiniBatchLog:
    """The mini-batch log to write: a new one, or the one that these options began.

    Raises:
        ConfigError: there is a log with another schema, or of other topics.
        RunError: it can't be written.
    """
    header = LogHeader.of(options.spec, window_ms=options.window_ms, batch_rows=options.batch_rows)
    source: dict[str, Any] = {
        "topics": list(options.kafka.topics),
        "format": options.forms.messages,
        "out_of_orderness_ms": options.out_of_orderness_ms,
        "max_jump_ms": options.max_jump_ms,
    }
    if options.join is not None:
        join = asdict(options.join) | {"topics": list(options.join.topics)}
        source["join"] = {k: v for k, v in join.items() if k not in ("files", "max_pending")}
        if options.join.conversions is None:
            del source["join"]["conversions"]
        else:
            later = source["join"]["conversions"]
            later["topics"] = list(later["topics"])
            del later["files"]
    return log_of_source(options.log, header, source)


@contextmanager
def lent(reader: TopicReader) -> Iterator[str]:
    """A reader that transforms of this process find by the key."""
    key = lend(reader)
    try:
        yield key
    finally:
        take_back(key)
