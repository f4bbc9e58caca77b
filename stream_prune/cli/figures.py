"""The comparison table on the console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from stream_prune.report.comparison import COLUMNS, cells, served, verdict
from stream_prune.report.run import read_run


def print_figures(console: Console, folders: Sequence[Path]) -> None:
    """One line a run; never cut, however narrow the terminal is, or where there is none.

    Below it what a model trained beside a run says of it, and what the served scores are worth.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.title.replace(" ", "\n"), justify="right", no_wrap=True)
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        table.add_row(run.name, *cells(run))
    needed = Measurement.get(console, console.options.update(width=1_000), table).maximum
    console.print(table, width=needed, crop=False)
    for text in filter(None, (say(run) for run in runs for say in (verdict, served))):
        console.print(text, highlight=False, soft_wrap=True)
