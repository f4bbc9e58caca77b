"""``stream-prune datasets``: the historical logs that the project knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_prune.cli.help_text import help_of

app = typer.Typer(
    help="Historical logs as event streams: list, describe, fetch.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(help="A name that `stream-prune datasets list` shows.")]


def list_sets() -> None:
    """Show the data sets, one line each.

    Example:

        stream-prune datasets list
    """
    from stream_prune.datasets import describe, names

    for name in names():
        typer.echo(describe(name))


def describe(name: Name) -> None:
    """Show where a data set is from, its licence, and what its columns mean.

    The columns are YAML for a configuration's `features`.

    Example:

        stream-prune datasets describe flights
    """
    import yaml

    from stream_prune.datasets import describe as one_line
    from stream_prune.datasets import load

    typer.echo(f"# {one_line(name)}\n#")
    for line in (load(name).__doc__ or "").strip().splitlines():
        typer.echo(f"# {line}".rstrip())
    typer.echo(yaml.safe_dump(load(name).SPEC.to_dict(), sort_keys=False, width=100).rstrip())


def fetch(
    name: Name,
    folder: Annotated[
        Path,
        typer.Argument(help="Folder for the files; of your own download, where you unpacked it."),
    ],
    rows: Annotated[int | None, typer.Option(min=1, help="Only the first N events.")] = None,
) -> None:
    """Write a data set as files that `stream-prune replay` reads.

    Example:

        stream-prune datasets fetch flights data/flights
    """
    from stream_prune.datasets import load

    for path in load(name).prepare(folder, rows):
        typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


for _name, _command in (("list", list_sets), ("describe", describe), ("fetch", fetch)):
    app.command(_name, help=help_of(_command))(_command)
