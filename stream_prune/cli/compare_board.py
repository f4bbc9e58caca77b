"""What a comparison shows: a line per run while they are made, and the table at the end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from stream_prune.cli.compare_runs import Told
from stream_prune.cli.config import Config
from stream_prune.cli.whole_table import print_whole, whole_table

LINE_EVERY_S = 10.0


class Board:
    """A bar per run on a terminal, a line now and then anywhere else; use it as a context.

    Args:
        console: where to.
        runs: that are to be made.
        rows: of each.
        at_once: runs that are made at the same time.
    """

    def __init__(self, console: Console, runs: int, rows: int, at_once: int) -> None:
        self._console, self._runs, self._rows = console, runs, rows
        self._done = 0
        self._started = time.monotonic()
        self._lines: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} rows"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self._say(f"{runs} runs of {rows:,} rows, {at_once} at once")

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def tell(self, told: Told) -> None:
        """A run is so far."""
        note = "" if told.ne is None else f"NE {told.ne:.4f}"
        if self._console.is_terminal:
            if told.run not in self._tasks:
                self._tasks[told.run] = self._bars.add_task(told.run, total=self._rows, note="")
            self._bars.update(self._tasks[told.run], completed=told.rows, note=note)
            return
        now = time.monotonic()
        if now - self._lines.setdefault(told.run, now) >= LINE_EVERY_S:
            self._lines[told.run] = now
            self._say(f"  {told.run}: {told.rows:,} of {self._rows:,} rows, {note}")

    def finished(self, job: Config, why: str) -> None:
        """A run is over; ``why`` says what has failed, if anything has."""
        from stream_prune.cli.compare_runs import finished

        self._done += 1
        name = job.training.run.name
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
        made = None if why else finished(job)
        told = why
        if made is not None:
            ne, seconds = made.summary["ne"], made.summary["clock"]["seconds"]
            told = f"NE {ne:.4f}, {seconds:.1f} s" if ne is not None else f"{seconds:.1f} s"
        passed = time.monotonic() - self._started
        self._say(f"[{self._done}/{self._runs}, {passed:.0f} s] {name}: {told}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def print_table(console: Console, lines: list[list[str]], names: int) -> None:
    """The table; ``names`` columns to the left."""
    head, *body = lines
    table = whole_table()
    for place, title in enumerate(head):
        side: Literal["left", "right"] = "left" if place < names else "right"
        table.add_column(title.replace(" ", "\n", 1), justify=side, no_wrap=True)
    for line in body:
        table.add_row(*line)
    print_whole(console, table)
