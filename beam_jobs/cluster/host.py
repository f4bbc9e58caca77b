"""The streaming job on a runner: submitted, followed by what it commits, cancelled."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_jobs.cluster.read_topics import ReadTopics
from beam_jobs.cluster.readings import say_stopped, stopped
from beam_jobs.cluster.runner_flags import JOB_ENDPOINT, expect_job_servers_flags, runner_flags
from beam_jobs.cluster.write_log import WriteLog
from beam_jobs.sink import Reconciliation
from beam_jobs.stream import create_log, log_has_ended
from beam_jobs.stream_job import Epoch
from beam_jobs.stream_options import FLINK, StreamOptions
from beam_jobs.topic_reader import TopicReader, no_broker, open_reader
from stream_prune.errors import RunError
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.log import MiniBatchLog

LOOK_SECONDS = 0.5
"""How often the log is looked into."""

END_SECONDS = 60.0
"""How long a runner may take to end a job whose readers have ended."""

MOST_LOST = 3
"""So many submissions in a row may be lost without a window committed."""

_log = logging.getLogger(__name__)


def stream_on_cluster(
    options: StreamOptions,
    *,
    to_end: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Epoch], None] = lambda _: None,
) -> Reconciliation:
    """Write the mini-batch log of topics on the runner that ``options`` name, until ``stop``.

    The same arguments, result and errors as :func:`beam_jobs.stream.stream`; what is told of an
    epoch is what has been committed since the one before.

    Raises:
        RunError: also what the runner says about a job that fails.
    """
    log = create_log(options)
    told = _Told(options, log)
    if told.ended:
        if to_end:
            return told.done
        raise log_has_ended(log)
    with closing(open_reader(options.reading)) as client:
        if client.partitions() is None:
            raise no_broker(options.kafka, "no metadata")
        lost = 0
        while (why := _submitted(options, log, told, client, to_end, stop, progress)) is not None:
            lost = 1 if told.advanced else lost + 1
            if lost > MOST_LOST:
                raise RunError(f"{why}; started again it goes on")
            _log.warning("%s: submitted again, from the log", why)
    return told.done


def _submitted(
    options: StreamOptions,
    log: MiniBatchLog,
    told: _Told,
    client: TopicReader,
    to_end: bool,
    stop: Callable[[], bool],
    progress: Callable[[Epoch], None],
) -> str | None:
    """One submission until its end; why there has to be another, None if there has not.

    Seen with Beam's Flink runner: a reader that had handed back what was left was never called
    again, or a job ended before its readers had. What is committed is whole all the same.

    Raises:
        RunError: an error has ended it.
    """
    job = uuid.uuid4().hex
    result = submit(options, job, to_end=to_end)
    why = None
    try:
        while not told.ended and not stop() and why is None:
            time.sleep(LOOK_SECONDS)
            terminal = PipelineState.is_terminal(result.state)
            progress(told.epoch(client))
            why = _lost(log, job)
            if terminal and not told.ended and why is None:
                if result.state != PipelineState.DONE:
                    raise RunError(
                        f"stream.runner = {options.runner!r}: the job is {result.state}: see the "
                        "runner's log; started again it goes on"
                    )
                why = f"stream.runner = {options.runner!r}: the job ended before its readers"
    finally:
        _end(result, log, job, options)
    progress(told.epoch(client))
    return None if told.ended else _lost(log, job) or why


def _lost(log: MiniBatchLog, job: str) -> str | None:
    """What has made the writer stop the job, where another submission helps.

    Raises:
        RunError: the reason, where it does not.
    """
    said = stopped(log, job)
    if said is None or said.why is None:
        return None
    if not said.again:
        raise RunError(said.why)
    return said.why


def submit(options: StreamOptions, job: str, *, to_end: bool) -> PipelineResult:
    """Hand the job to its runner.

    Raises:
        RunError: the runner does not take it.
    """
    _require_job_server(options)
    expect_job_servers_flags()
    pipeline = beam.Pipeline(options=PipelineOptions(runner_flags(options)))
    _ = (
        pipeline
        | "readers" >> beam.Create(list(range(options.readers)), reshuffle=False)
        | "spread" >> beam.Reshuffle()
        | "read"
        >> beam.ParDo(ReadTopics(job, options, options.readers)).with_output_types(
            tuple[int, bytes]
        )
        | "write" >> beam.ParDo(WriteLog(job, options, to_end))
    )
    try:
        return pipeline.run()
    except Exception as error:  # runners raise whatever their clients do
        raise RunError(
            f"stream.runner = {options.runner!r}: the job was not taken: {error}: see that the "
            "runner is there, and stream.runner_options"
        ) from error


def _require_job_server(options: StreamOptions) -> None:
    """Raises RunError if nothing listens where Flink's jobs go: Beam's client waits for minutes."""
    endpoint = options.runner_options.get("job_endpoint", JOB_ENDPOINT)
    if options.runner != FLINK:
        return
    host, _, port = str(endpoint).rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise RunError(
            f"stream.runner = {options.runner!r}: no job server answers at {endpoint}: {error}: "
            "start Beam's (see docs/streaming.md), or correct stream.runner_options.job_endpoint"
        ) from None


def _end(result: PipelineResult, log: MiniBatchLog, job: str, options: StreamOptions) -> None:
    """Let the readers end, and wait: a job that lives on holds its slots, and reads.

    Flink's job server says that a job is cancelled while it runs on; so the log tells the readers.
    """
    say_stopped(log, job, None)
    deadline = time.monotonic() + END_SECONDS
    while not PipelineState.is_terminal(result.state):
        if time.monotonic() > deadline:
            result.cancel()
            raise RunError(
                f"stream.runner = {options.runner!r}: the job was told to end and is "
                f"{result.state} after {END_SECONDS:.0f} s: see that it ends where it runs; what "
                "it has committed is whole"
            )
        time.sleep(0.1)


class _Told:
    """How a job stands, by its log and its topics."""

    def __init__(self, options: StreamOptions, log: MiniBatchLog) -> None:
        self._log, self._slack = log, options.out_of_orderness_ms
        self._next = 0
        self.done = Reconciliation()
        self.last: Commit | None = None
        self._looked = time.monotonic()
        self._read_commits()
        self._asked = self._next

    @property
    def advanced(self) -> bool:
        """Whether anything was committed since this was asked last."""
        before, self._asked = self._asked, self._next
        return self._next > before

    @property
    def ended(self) -> bool:
        """No window follows the last one."""
        return self.last is not None and self.last.end

    def _read_commits(self) -> None:
        for number, commit in self._log.commits(0, self._next):
            self._next, self.last = number + 1, commit
            self.done = self.done.plus(commit)

    def epoch(self, client: TopicReader) -> Epoch:
        """What was committed since the last call, and how much is not."""
        before, since = self.done, self._looked
        self._read_commits()
        self._looked = time.monotonic()
        last = self.last
        closed_at: Mapping[str, int] = {} if last is None else last.closed_at
        bounds: dict[int, tuple[int, int]] = {}
        names: Any = client.partitions()
        if names is not None:
            bounds = client.bounds(list(names))
        return Epoch(
            rows=self.done.rows - before.rows,
            seconds=self._looked - since,
            commit_seconds=None,
            windows=self.done.windows - before.windows,
            committed=None if last is None else last.window_end,
            watermark=None if last is None else last.window_end,
            lag=sum(
                max(0, end - max(first, closed_at.get(str(number), 0)))
                for number, (first, end) in bounds.items()
            ),
            open_rows=0,
            counts=self.done,
            held_back=False,
            silent_seconds=None,
        )
