"""Writes the report: one HTML file that needs nothing else, no network either."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from stream_prune.report import event_log
from stream_prune.report.comparison import COLUMNS, cells, verdict
from stream_prune.report.figures import figures
from stream_prune.report.run import Run
from stream_prune.report.slices import COLUMNS as SLICE_COLUMNS
from stream_prune.report.slices import slices


def write_report(
    runs: Sequence[Run], path: Path, *, title: str = "stream_prune report", subtitle: str = ""
) -> Path:
    """Write the report on ``runs`` to ``path`` (replaced as a whole, never half written)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(render(runs, title=title, subtitle=subtitle), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def render(
    runs: Sequence[Run],
    *,
    title: str,
    subtitle: str = "",
    refresh_ms: int = 0,
    with_scripts: bool = True,
) -> str:
    """The page as text.

    Args:
        runs: what is compared.
        title: of the page.
        subtitle: below it; by default how many runs, and their event times.
        refresh_ms: the page asks its server for what is new at this interval; 0: never.
        with_scripts: without them it is what a page that is open takes its news from.
    """
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    drawn = figures(runs)
    data = [{"id": f.id, "traces": f.traces, "layout": f.layout} for f in drawn]
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(_part("page.html"))
        .render(
            title=title,
            subtitle=subtitle or _stretch(runs),
            columns=COLUMNS,
            rows=[{"name": run.name, "cells": cells(run)} for run in runs],
            verdicts=[text for text in map(verdict, runs) if text],
            plots=[figure for figure in drawn if figure.over_time],
            outcomes=[figure for figure in drawn if not figure.over_time],
            slices=slices(runs),
            slice_columns=SLICE_COLUMNS,
            events=_events(runs),
            event_columns=event_log.COLUMNS,
            numbers=event_log.NUMBERS,
            settings=[{"name": run.name, "text": _settings(run)} for run in runs],
            data=_inline(data),
            css=_part("page.css"),
            refresh_ms=refresh_ms,
            js=_part("page.js") if with_scripts else "",
            plotly=get_plotlyjs() if with_scripts else "",
        )
    )


def _part(name: str) -> str:
    return files("stream_prune.report").joinpath(name).read_text(encoding="utf-8")


def _inline(data: Any) -> str:
    """JSON that can't end the script element it stands in, whatever a run is called."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _stretch(runs: Sequence[Run]) -> str:
    spans = [span for run in runs if (span := run.span) is not None]
    if not spans:
        return "no window has been evaluated yet"
    first, last = min(s[0] for s in spans), max(s[1] for s in spans)
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return f"{count}, events from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _events(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The events of all runs by their time; one that has none yet comes first."""
    found = [(event, run.name) for run in runs for event in run.events]
    found.sort(key=lambda pair: pair[0].time if math.isfinite(pair[0].time) else -math.inf)
    return [
        {
            "run": name,
            "cells": list(zip(event_log.COLUMNS, event.cells, strict=True)),
            "plan": event.plan,
        }
        for event, name in found
    ]


def _settings(run: Run) -> str:
    return json.dumps({"configuration": run.config, "environment": run.environment}, indent=2)
