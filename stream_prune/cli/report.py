"""``stream-prune report``: one HTML file on one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders to compare.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "report.html"
    ),
    title: Annotated[str, typer.Option(help="Title of the page.")] = "stream_prune report",
) -> None:
    """Write a self-contained HTML report on runs, also on ones that are still going.

    Example:

        stream-prune report runs/quickstart/runs/* -o report.html
    """
    from stream_prune.report.page import write_report
    from stream_prune.report.run import read_run

    path = write_report([read_run(folder) for folder in runs], output, title=title)
    typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser")
