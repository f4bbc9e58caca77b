"""``stream-prune train``: training alone, on a mini-batch log that exists or is being written."""

from __future__ import annotations

import typer

from stream_prune.cli.options import Changes, ConfigFile


def train(config: ConfigFile, changes: Changes = None) -> None:
    """Train on a mini-batch log; killed and started again, it goes on from the last checkpoint.

    With `follow: true` it waits for windows that are still being written, until the log ends.

    Example:

        stream-prune train configs/quickstart/adaptive.yaml
    """
    from rich.console import Console

    from stream_prune.cli.config import load, named
    from stream_prune.cli.figures import print_figures
    from stream_prune.cli.job import run_training

    console = Console()
    changes = changes or []
    settings = load(config, changes)
    with named(config, changes):
        run_training(settings, console)
    print_figures(console, [settings.training.run])
    typer.echo(f"report: stream-prune report {settings.training.run}")
