"""``stream-prune publish``: a run's model into MLflow, from its last durable checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.cli.options import RunFolder
from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from stream_prune.cli.config import Config


def publish(
    run: RunFolder,
    example: Annotated[
        Path | None,
        typer.Option(help="File whose last rows are the example; by default the run's events."),
    ] = None,
    run_name: Annotated[
        str | None, typer.Option(help="The run's name in MLflow; by default the folder's.")
    ] = None,
    gates: Annotated[
        bool, typer.Option(help="Hold it against the champion and the limits of publish.gates.")
    ] = True,
) -> None:
    """Build the artifact of a run's last checkpoint and publish it to the configured registry.

    The alias moves last, onto a version that was fetched back, verified, and held against the
    champion and the limits of `publish.gates`. A second call on the same checkpoint changes
    nothing. The run may still be training.

    Example:

        stream-prune publish runs/quickstart/runs/adaptive
    """
    from stream_prune.artifact import ModelCard
    from stream_prune.cli.artifacts import above_budget

    version, artifact, config = publish_run(run, example, run_name, gates)
    registry = config.registry
    assert registry is not None
    packed = ModelCard.read(artifact).packed
    saved = sum(tensor.bytes_saved for tensor in packed)
    told = f", {saved / 1000:,.0f} kB smaller by {len(packed)} packed tensors" if packed else ""
    typer.echo(f"{artifact}: artifact of the last checkpoint{told}")
    typer.echo(
        f"{registry.tracking_uri}: {registry.model} version {version}, alias {registry.alias}"
    )
    above = above_budget(run, artifact)
    if above is not None:
        typer.echo(above)


def publish_run(
    run: Path, example: Path | None = None, run_name: str | None = None, gates: bool = True
) -> tuple[str, Path, Config]:
    """Version, artifact folder and configuration of a published run.

    Raises:
        ConfigError: the folder holds no run, or its configuration names no registry.
        RunError: there is no checkpoint yet, the registry doesn't answer, or a gate refuses.
    """
    from stream_prune.cli.artifacts import build_artifact
    from stream_prune.cli.config import load
    from stream_prune.cli.event_files import read_events
    from stream_prune.cli.example_rows import example_rows
    from stream_prune.cli.job import JOB
    from stream_prune.minibatch.open_log import open_log
    from stream_prune.registry.publish import publish as publish_artifact

    if not (run / JOB).is_file():
        raise ConfigError(f"{run}: is no run folder of stream-prune: there is no {JOB} in it")
    config = load(run / JOB)
    if config.registry is None:
        raise ConfigError(
            f"{run / JOB}: registry: is missing: say where to publish (tracking_uri, model)"
        )
    send_waiting(run, config)
    rows = example_rows(config) if example is None else _last(read_events(example))
    artifact = build_artifact(run, config.registry.model, rows, run_name, config.artifact)
    log = open_log(config.training.log)
    limits = config.publish.gates if gates else None
    version = publish_artifact(artifact, config.registry, limits, log, config.publish.deltas)
    return version, artifact, config


def send_waiting(run: Path, config: Config) -> None:
    """Publish first what an earlier process has left waiting, in order.

    Raises:
        RunError: the registry doesn't answer.
    """
    from stream_prune.cli.publisher import publish_waiting
    from stream_prune.registry.publications import Publications

    publications = Publications(run)
    with publications.alone():
        for line in publications.waiting():
            fate = publish_waiting(run, line, config)
            publications.add(fate)
            publications.tidy()
            told = fate.why if fate.version == "" else f"version {fate.version}"
            typer.echo(f"step {fate.step}, which was waiting: {fate.outcome}: {told}")


def last_events(config: Config) -> pa.Table:
    """The last raw rows of the configured events: what an artifact's example is made of.

    Raises:
        ConfigError: no source is named, or it names no file.
    """
    from beam_jobs.log_source import find_files, find_format
    from stream_prune.cli.event_files import read_events
    from stream_prune.cli.job import event_files

    files = find_files(event_files(config))
    source = config.source
    assert source is not None
    kind = find_format(files, source.format)
    return _last(read_events(files[-1], kind, source.delimiter, source.null_values))


def _last(events: pa.Table) -> pa.Table:
    from stream_prune.cli.example_rows import EXAMPLE_ROWS

    return events.slice(max(0, events.num_rows - EXAMPLE_ROWS))
