"""The comparison table on the console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from stream_prune.report.comparison import COLUMNS, cells
from stream_prune.report.run import read_run


def print_figures(console: Console, folders: Sequence[Path]) -> None:
    """One line a run; never cut, however narrow the terminal is, or where there is none."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.title.replace(" ", "\n"), justify="right", no_wrap=True)
    for folder in folders:
        run = read_run(folder)
        table.add_row(run.name, *cells(run))
    needed = Measurement.get(console, console.options.update(width=1_000), table).maximum
    console.print(table, width=needed, crop=False)
