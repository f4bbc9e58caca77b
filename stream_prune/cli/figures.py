"""The comparison table on the console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stream_prune.cli.whole_table import print_whole, whole_table
from stream_prune.report.comparison import COLUMNS, cells, served, verdict
from stream_prune.report.run import read_run


def print_figures(console: Console, folders: Sequence[Path]) -> None:
    """One line a run.

    Below: what a model trained beside a run says of it, and what the served scores are worth.
    """
    table = whole_table()
    table.add_column("run", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.title.replace(" ", "\n"), justify="right", no_wrap=True)
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        table.add_row(run.name, *cells(run))
    print_whole(console, table)
    for text in filter(None, (say(run) for run in runs for say in (verdict, served))):
        console.print(text, highlight=False, soft_wrap=True)
