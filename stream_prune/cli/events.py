"""``stream-prune events``: what a run decided, when, and why."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.cli.options import RunFolder

if TYPE_CHECKING:
    from stream_prune.report.event_log import Event

INDENT = "    "


def events(
    run: RunFolder,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only this kind, e.g. shrink or drift (repeatable)."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The journal's own lines, one JSON object each.")
    ] = False,
) -> None:
    """Show every decision of a run, also while it is still going on.

    Each has a line of figures, and below it what became wider or narrower. Severity is in standard
    deviations of the slice loss, density the kept share of the units (of the weights where masks
    are held), MACs are per example scored, rate is the multiplier of the learning rate from then
    on, seconds is what the decision took.

    Example:

        stream-prune events runs/quickstart/runs/adaptive
        stream-prune events runs/quickstart/runs/adaptive --kind shrink --kind grow --json
    """
    from stream_prune.report.event_log import event_lines
    from stream_prune.report.run import journal_of
    from stream_prune.training.journal import read

    path = journal_of(run)
    found = list(event_lines(read(path), str(path)))
    wanted = [event for event in found if not kind or event.kind in kind]
    if as_json:
        for event in wanted:
            typer.echo(json.dumps(event.record, allow_nan=False))
    elif wanted:
        for line in _table(wanted, _width()):
            typer.echo(line)
    else:
        typer.echo(_nothing(str(run), found, kind or []))


def _nothing(run: str, found: Sequence[Event], kinds: Sequence[str]) -> str:
    if not found:
        return f"{run}: no event so far"
    there = ", ".join(f"{kind} {count}" for kind, count in Counter(e.kind for e in found).items())
    return f"{run}: no event of kind {' or '.join(kinds)}; there are: {there}"


def _width() -> int | None:
    """Columns of the terminal; None where there is none, and no line need be broken."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _table(wanted: Sequence[Event], width: int | None) -> Iterator[str]:
    """The lines of the table; figures are never cut, the plan is broken at ``width``."""
    from stream_prune.report.event_log import COLUMNS, NUMBERS

    rows = [COLUMNS, *(event.cells for event in wanted)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells, plan in zip(rows, ("", *(event.plan for event in wanted)), strict=True):
        yield "  ".join(
            cell.rjust(wide) if name in NUMBERS else cell.ljust(wide)
            for name, cell, wide in zip(COLUMNS, cells, widths, strict=True)
        ).rstrip()
        if plan:
            yield from textwrap.wrap(
                plan,
                width or len(plan) + len(INDENT),
                initial_indent=INDENT,
                subsequent_indent=INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
