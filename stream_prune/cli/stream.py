"""``stream-prune stream``: Kafka topics into a mini-batch log, until it is told to stop."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_prune.cli.options import Changes, ConfigFile
from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from beam_jobs.sink import Reconciliation
    from beam_jobs.stream_job import Epoch
    from beam_jobs.stream_options import StreamOptions
    from stream_prune.cli.stream_config import StreamConfig


def stream(
    config: ConfigFile,
    changes: Changes = None,
    to_end: Annotated[
        bool,
        typer.Option("--to-end", help="Read up to where the topics end now, then end the log."),
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Train beside it, in a process of its own.")
    ] = False,
    local_kafka: Annotated[
        bool,
        typer.Option(
            "--local-kafka",
            help="Start a Kafka broker on this machine while the job runs.",
        ),
    ] = False,
    local_flink: Annotated[
        bool,
        typer.Option("--local-flink", help="Start a Flink on this machine, and run the job on it."),
    ] = False,
    alive: Annotated[
        Path | None,
        typer.Option(help="Touch this file after every micro-epoch, for checks of health."),
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="Append a line of JSON for every micro-epoch to this file.")
    ] = None,
) -> None:
    """Write the topics of `source.kafka` into a mini-batch log, until SIGTERM or Ctrl-C.

    Killed and started again it goes on after the last window that it committed.

    Example:

        stream-prune stream configs/stream.yaml
        stream-prune stream configs/stream.yaml --local-kafka --train
        stream-prune stream configs/stream.yaml --to-end --set log=runs/backfill/log
    """
    from rich.console import Console

    from stream_prune.cli.reconciled import unused
    from stream_prune.cli.stream_config import load, named
    from stream_prune.cli.trainer_beside import trainer_beside
    from stream_prune.minibatch.open_log import open_log

    console = Console()
    settings = load(config, changes or [])
    # While brokers are away its client would print pages; the job says so in a line.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    stop = threading.Event()
    if alive is not None:
        alive.parent.mkdir(parents=True, exist_ok=True)
    with named(config, changes or []):
        options = stream_options(settings)
        if train:
            _check_training(config, changes or [])
        with (
            _stopping(stop),
            _broker(local_kafka, settings, options) as options,
            _flink(local_flink, settings, options) as options,
            trainer_beside(train, config, changes or []) as trainer,
            _lines(metrics) as write,
        ):
            show = _Told(console)

            def progress(epoch: Epoch) -> None:
                show(epoch)
                write(epoch)
                trainer.start()
                if alive is not None:
                    alive.touch()

            topics = ", ".join(options.kafka.topics)
            console.print(f"stream {topics} into {options.log} ...", highlight=False)
            counts = _host(options)(options, to_end=to_end, stop=stop.is_set, progress=progress)
            if to_end and not stop.is_set():
                trainer.finish()
    show.last(stopped=stop.is_set())
    letters = options.letter_topic or open_log(options.log).dead_letters
    typer.echo(f"events: {counts}; {unused(counts):,} dead letters in {letters}")


def stream_options(settings: StreamConfig) -> StreamOptions:
    """What the streaming job is told by a configuration.

    Raises:
        ConfigError: no topics are named, or something cannot be.
    """
    from beam_jobs.decode import Formats
    from beam_jobs.stream_options import StreamOptions
    from stream_prune.cli.event_source import join_options
    from stream_prune.minibatch.retention import Retention

    source, windows, stream = settings.source, settings.windows, settings.stream
    if source is None or source.kafka is None:
        raise ConfigError("source.kafka: is missing: name brokers and topics to read")
    keep = settings.retention
    retention = None if keep is None else Retention(keep.age, keep.rows, keep.size)
    return StreamOptions(
        kafka=source.kafka,
        spec=settings.spec(),
        log=settings.log,
        window_ms=windows.length,
        out_of_orderness_ms=windows.out_of_orderness,
        max_jump_ms=windows.max_jump,
        batch_rows=windows.batch_rows,
        forms=Formats(messages=source.format, avro=source.avro),
        max_bad_share=settings.max_bad_share,
        idle=stream.idle,
        idle_ms=stream.idle_after,
        dead_letters=stream.dead_letters,
        epoch_ms=stream.epoch,
        epoch_rows=stream.epoch_rows,
        max_open_rows=stream.max_open_rows,
        runner=stream.runner,
        runner_options=stream.runner_options,
        readers=stream.readers,
        join=join_options(settings),
        retention=retention,
    )


def _check_training(config: Path, changes: list[str]) -> None:
    """Raises ConfigError where the trainer beside it could not begin."""
    from stream_prune.cli.config import load
    from stream_prune.cli.job import check_model

    check_model(load(config, changes))


@contextmanager
def _broker(
    wanted: bool, settings: StreamConfig, options: StreamOptions
) -> Iterator[StreamOptions]:
    """The options with a broker of one's own, if it is wanted; it keeps its data beside the run."""
    if not wanted:
        yield options
        return
    from stream_prune.cli.demo.loop import broker_with_topic, program

    with broker_with_topic(settings.run.parent / "kafka", settings) as broker:
        typer.echo(
            f"a Kafka broker is at {broker.bootstrap}; to play a log into it: {program()[0]} "
            f"produce CONFIG --set source.kafka.bootstrap={broker.bootstrap}"
        )
        kafka = replace(options.kafka, bootstrap=broker.bootstrap)
        yield replace(options, kafka=kafka)


@contextmanager
def _flink(wanted: bool, settings: StreamConfig, options: StreamOptions) -> Iterator[StreamOptions]:
    """The options with a Flink of one's own, if it is wanted."""
    if not wanted:
        yield options
        return
    from beam_jobs.local_flink import LocalFlink

    with LocalFlink(settings.run.parent / "flink") as flink:
        own = {**options.runner_options, "job_endpoint": flink.endpoint}
        yield replace(options, runner="flink", runner_options=own)


def _host(options: StreamOptions) -> Callable[..., Reconciliation]:
    """What runs the job: this process, or a runner on a cluster."""
    from beam_jobs.cluster.host import stream_on_cluster
    from beam_jobs.stream import stream
    from beam_jobs.stream_options import IN_PROCESS

    return stream if options.runner == IN_PROCESS else stream_on_cluster


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Let the first SIGTERM or Ctrl-C end the job after its epoch, the second one at once."""

    def first(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {n: signal.signal(n, first) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _lines(file: Path | None) -> Iterator[Any]:
    """A function that writes an epoch as a line of JSON."""
    if file is None:
        yield lambda _: None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:

        def write(epoch: Epoch) -> None:
            lines.write(json.dumps({"time": time.time(), **asdict(epoch)}) + "\n")
            lines.flush()

        yield write


class _Told:
    """Says every few seconds how the job stands."""

    EVERY_S = 5.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + self.EVERY_S
        self._recent: deque[tuple[float, int]] = deque(maxlen=50)
        self._epoch: Epoch | None = None
        self._told: Epoch | None = None

    def __call__(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._recent.append((epoch.seconds, epoch.rows))
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.EVERY_S
            self._print(epoch)

    def last(self, *, stopped: bool) -> None:
        """What is left open at the end."""
        if self._epoch is not None:
            if self._told is not self._epoch:
                self._print(self._epoch)
            if stopped and self._epoch.open_rows:
                self._console.print(
                    f"  stopped: {self._epoch.open_rows:,} events are in open windows; the next "
                    "run reads them again",
                    highlight=False,
                    soft_wrap=True,
                )

    def _print(self, epoch: Epoch) -> None:
        self._told = epoch
        seconds = sum(s for s, _ in self._recent)
        rate = sum(rows for _, rows in self._recent) / max(seconds, 1e-9)
        clock = "none" if epoch.watermark is None else _utc(epoch.watermark)
        if epoch.silent_seconds is not None:
            clock += f", no broker has answered for {epoch.silent_seconds:.0f} s"
        held = ", waits for partitions that hold the clock back" if epoch.held_back else ""
        self._console.print(
            f"  {rate:,.0f} events/s, {epoch.counts.windows:,} windows, lag {epoch.lag:,}, "
            f"watermark {clock}, {epoch.open_rows:,} open{held}",
            highlight=False,
            soft_wrap=True,
        )


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
