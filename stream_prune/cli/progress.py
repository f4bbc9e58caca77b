"""How far a long step is: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY_S = 5.0

Advance = Callable[[int, str], None]
"""Called with the rows done so far (not the difference) and a short note."""


@contextmanager
def progress(
    console: Console, title: str, total: int | None = None, start: int = 0
) -> Iterator[Advance]:
    """Show the progress of one step while the block runs.

    Arguments: ``title`` of the step; ``total`` rows, if known; ``start``: rows that were done
    before this process.
    """
    started = time.monotonic()
    done, noted = start, ""
    if console.is_terminal:
        bar = _bar(console)
        with bar:
            task = bar.add_task(title, total=total, completed=start, note="")

            def advance(rows: int, note: str = "") -> None:
                nonlocal done, noted
                done, noted = rows, note or noted
                bar.update(task, completed=rows, note=noted)

            yield advance
            bar.update(task, completed=done, total=done or 1)
    else:
        console.print(f"{title} ...", highlight=False)
        last = started

        def advance(rows: int, note: str = "") -> None:
            nonlocal done, noted, last
            done, noted = rows, note or noted
            if rows and (now := time.monotonic()) - last >= LINE_EVERY_S:
                last = now
                console.print(f"  {_share(rows, total)}, {noted}", highlight=False, soft_wrap=True)

        yield advance
    now = f" ({done - start:,} of them now)" if start else ""
    rows = f"{done:,} rows{now}, " if done else ""
    console.print(
        f"{title}: {rows}{time.monotonic() - started:.1f} s {noted}".rstrip(),
        highlight=False,
        soft_wrap=True,
    )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:,.0f} rows"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


def _share(rows: int, total: int | None) -> str:
    return f"{rows:,} rows" if not total else f"{rows:,} of {total:,} rows ({rows / total:.0%})"
