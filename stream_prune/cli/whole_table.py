"""A table on the console that is never cut: rich would shorten cells to fit the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def whole_table() -> Table:
    """An empty one in the style of all tables of figures."""
    return Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))


def print_whole(console: Console, table: Table) -> None:
    """As wide as it has to be, however narrow the terminal is, or where there is none."""
    needed = Measurement.get(console, console.options.update(width=1_000), table).maximum
    wide = Console(
        file=console.file,
        width=max(needed, console.width),
        force_terminal=console.is_terminal,
        no_color=console.no_color,
    )
    wide.print(table)
