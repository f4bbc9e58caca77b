"""``stream-prune replay``: event files into a mini-batch log, and the training on it."""

from __future__ import annotations

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

    from stream_prune.cli.config import load, named
    from stream_prune.cli.figures import print_figures
    from stream_prune.cli.job import run_replay, run_training

    console = Console()
    changes = changes or []
    settings = load(config, changes)
    with named(config, changes):
        run_replay(settings, console)
        run_training(settings, console)
    print_figures(console, [settings.training.run])
    typer.echo(f"report: stream-prune report {settings.training.run}")
