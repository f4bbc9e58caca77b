"""``stream-prune report``: one HTML file on one run or several, or a page that follows them."""

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
    follow: Annotated[
        bool, typer.Option("--follow", help="Serve a page that keeps up with the runs instead.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of that page; 0 takes a free one.")
    ] = 8766,
) -> None:
    """Write a self-contained HTML report on runs, also on ones that are still going.

    With --follow it is served on this machine instead, and an open page keeps up with the runs
    until the command is interrupted; runs that have not begun yet are waited for.

    Example:

        stream-prune report runs/quickstart/runs/* -o report.html
        stream-prune report --follow runs/own/adaptive
    """
    from stream_prune.report.page import write_report
    from stream_prune.report.run import read_run

    if follow:
        from stream_prune.report.follow import follow as serve

        def ready(address: str) -> None:
            typer.echo(f"{address} : open it in a browser; Ctrl-C ends it")

        serve(runs, title=title, port=port, ready=ready)
        return
    path = write_report([read_run(folder) for folder in runs], output, title=title)
    typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser")
