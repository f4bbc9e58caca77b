"""``stream-prune stream-demo``: the whole loop on one machine, from broker to served model."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from stream_prune.cli.options import Changes, ConfigFile

GLANCE_S = 1.0
PUBLISH_EVERY = 100
"""Windows between two published models, where the configuration does not say."""


def stream_demo(
    config: ConfigFile,
    changes: Changes = None,
    folder: Annotated[
        Path, typer.Option(help="Every demonstration gets a folder of its own in it.")
    ] = Path("runs/stream-demo"),
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End after so long; by default at Ctrl-C.")
    ] = None,
) -> None:
    """Run broker, producer, Beam job, trainer, MLflow and serving, and show how they stand.

    The broker is a real Kafka on this machine (needs Java, and once Maven). Ctrl-C ends everything.

    Example:

        stream-prune stream-demo configs/stream.yaml
        stream-prune stream-demo configs/stream.yaml --set produce.speed=200000
    """
    from rich.console import Console

    from beam_jobs.local_kafka.broker import free_ports
    from stream_prune.cli.config import load, named
    from stream_prune.cli.demo.loop import LOOPBACK, Loop, Places, broker_with_topic
    from stream_prune.cli.demo.processes import Processes, interrupted_by_signals
    from stream_prune.cli.demo.readings import (
        JournalReading,
        LogReading,
        Readings,
        ServerReading,
        TopicEnds,
    )
    from stream_prune.cli.demo.view import line, view
    from stream_prune.cli.job import check_model
    from stream_prune.training.run_folder import JOURNAL

    console = Console()
    given = changes or []
    settings = load(config, given)
    if not settings.publish.by_itself:
        given = [*given, f"publish.every_windows={PUBLISH_EVERY}"]
    place = (folder / f"{datetime.now():%Y%m%d-%H%M%S}").absolute()
    last = None
    with named(config, given):
        check_model(settings)
        console.print(f"everything is kept in {place}", highlight=False, soft_wrap=True)
        console.print("Kafka starts ...")
        try:
            with (
                interrupted_by_signals(),
                broker_with_topic(place / "kafka", settings) as broker,
                Processes(place / "output") as processes,
            ):
                assert settings.source is not None
                assert settings.source.kafka is not None
                mlflow, server = (f"http://{LOOPBACK}:{port}" for port in free_ports(2))
                topics = settings.source.kafka.topics
                registry = settings.registry
                model = topics[0] if registry is None else registry.model
                alias = "champion" if registry is None else registry.alias
                places = Places(place, broker.bootstrap, mlflow, server, model, alias)
                loop = Loop(processes, places, config, given)
                loop.start(lambda text: console.print(text))
                log, journal = LogReading(places.log), JournalReading(places.run / JOURNAL)
                addresses = {
                    "MLflow": mlflow,
                    "serving": f"{server}/docs",
                    "output": str(place / "output"),
                }
                end = None if seconds is None else time.monotonic() + seconds
                with (
                    TopicEnds(broker.bootstrap, topics) as ends,
                    view(console, f"{model} as a stream", addresses) as show,
                ):
                    readings = Readings(ends, log, journal, ServerReading(server, model))
                    while end is None or time.monotonic() < end:
                        note = loop.step()
                        last = readings.read()
                        show(last, note)
                        time.sleep(GLANCE_S)
        except KeyboardInterrupt:
            console.print("ending everything ...")
    if last is not None:
        console.print(line(last), highlight=False, soft_wrap=True)
    console.print(f"report: stream-prune report {place / 'run'}", highlight=False, soft_wrap=True)
