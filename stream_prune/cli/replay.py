"""``stream-prune replay``: event files into a mini-batch log, and the training on it."""

from __future__ import annotations

import shlex

import typer

from stream_prune.cli.options import Changes, ConfigFile


def replay(config: ConfigFile, changes: Changes = None) -> None:
    """Replay an event log and train on it: one run, with its figures.

    Started again, both go on where they stopped; what is complete is not done again.

    Example:

        stream-prune replay configs/quickstart/adaptive.yaml
        stream-prune replay configs/quickstart/dense.yaml --set seed=2 --set run=runs/dense-2
    """
    from rich.console import Console

    from stream_prune.cli.commands import program, runs_page
    from stream_prune.cli.config import load, named
    from stream_prune.cli.figures import print_figures
    from stream_prune.cli.job import check_model, run_replay, run_training
    from stream_prune.cli.reconciled import told

    console = Console()
    changes = changes or []
    settings = load(config, changes)
    with named(config, changes):
        check_model(settings)
        run_replay(settings, console)
        run_training(settings, console)
    print_figures(console, [settings.training.run])
    typer.echo(f"events: {told(settings.training.log)}")
    typer.echo(f"report: {program()} report {shlex.quote(str(settings.training.run))}")
    if settings.registry is not None:
        typer.echo(f"MLflow: {runs_page(settings.registry)}")
