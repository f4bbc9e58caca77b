"""``stream-prune train``: training alone, on a mini-batch log that exists or is being written."""

from __future__ import annotations

import shlex

import typer

from stream_prune.cli.options import Changes, ConfigFile


def train(config: ConfigFile, changes: Changes = None) -> None:
    """Train on a mini-batch log; killed and started again, it goes on from the last checkpoint.

    With `follow: true` it waits for windows that are still being written, until the log ends.

    Example:

        stream-prune train configs/quickstart/adaptive.yaml
    """
    from rich.console import Console

    from stream_prune.cli.commands import program, runs_page
    from stream_prune.cli.config import load, named
    from stream_prune.cli.figures import print_figures
    from stream_prune.cli.job import run_training
    from stream_prune.cli.reconciled import told

    console = Console()
    changes = changes or []
    settings = load(config, changes)
    with named(config, changes):
        run_training(settings, console)
    print_figures(console, [settings.training.run])
    typer.echo(f"events: {told(settings.training.log)}")
    typer.echo(f"report: {program()} report {shlex.quote(str(settings.training.run))}")
    if settings.registry is not None:
        typer.echo(f"MLflow: {runs_page(settings.registry)}")
