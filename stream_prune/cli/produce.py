"""``stream-prune produce``: a historical log played into Kafka, for demos and load tests."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.cli.options import Changes, ConfigFile
from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from beam_jobs.kafka_settings import KafkaSettings
    from stream_prune.cli.events_config import EventsConfig, Produce


def produce(
    config: ConfigFile,
    changes: Changes = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Write a Parquet file that says what a job must make of every message."),
    ] = None,
    schemas: Annotated[
        Path | None, typer.Option(help="Write the Avro schemas to this folder, ID.avsc each.")
    ] = None,
) -> None:
    """Play a log into the topic of `source.kafka`, until it ends or Ctrl-C.

    The part `produce` of the file says what (`log`), how fast (`rate` events a second, or `speed`
    times the log's own), in which form, and which `faults` there are on purpose.

    Example:

        stream-prune produce configs/stream.yaml
        stream-prune produce configs/stream.yaml --set produce.rate=20000 --ledger ledger.parquet
    """
    from rich.console import Console

    from beam_jobs.log_source import FileSource, find_files, find_format
    from beam_jobs.options import CsvFormat
    from beam_jobs.produce.log import PlayedLog
    from beam_jobs.produce.play import Sent, play
    from stream_prune.cli.event_source import source_files
    from stream_prune.cli.progress import progress
    from stream_prune.cli.stream_config import load, named

    console = Console()
    settings = load(config, changes or [])
    with named(config, changes or []):
        kafka, options = _target(settings)
        log = options.log
        if log is None or log.kafka is not None:
            raise ConfigError("produce.log: is missing: name a dataset or files to play")
        paths = find_files(source_files(log))
        csv = CsvFormat(log.delimiter, log.null_values)
        source = FileSource(paths, find_format(paths, log.format), csv)
        spec = settings.spec()
        played = PlayedLog(source, spec, options.rounds)
        topic = options.topic or kafka.topics[0]
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with progress(console, f"play {played.rows:,} events into {topic}", played.rows) as advance:

            def show(sent: Sent) -> None:
                advance(sent.messages, f"{sent.messages / max(sent.seconds, 1e-9):,.0f} a second")

            sent = play(
                played,
                spec,
                kafka,
                options,
                window_ms=settings.windows.length,
                out_of_orderness_ms=settings.windows.out_of_orderness,
                ledger=ledger,
                schemas=schemas,
                stop=stop,
                progress=show,
            )
    console.print(f"  {sent}", highlight=False, soft_wrap=True)
    if stop.is_set():
        console.print("  stopped: all of these have arrived", highlight=False, soft_wrap=True)


def _target(settings: EventsConfig) -> tuple[KafkaSettings, Produce]:
    """Where to, and how; the form is the one that the streaming job reads, if none is named."""
    from beam_jobs.avro_format import CONFLUENT

    if settings.source is None or settings.source.kafka is None:
        raise ConfigError("source.kafka: is missing: name the brokers and topics to write to")
    if settings.produce is None:
        raise ConfigError("produce: is missing: say what to play (produce.log), and how fast")
    options = settings.produce
    if options.format is None:
        source = settings.source
        framed = source.avro.framing == CONFLUENT
        form = "json" if source.format == "json" else "confluent" if framed else "avro"
        options = replace(options, format=form)
    return settings.source.kafka, options
