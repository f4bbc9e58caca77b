"""Plots of embedding tables: rows in use, and rows that came and went."""

from __future__ import annotations

from stream_prune.report.figure import Figure, colours, identifier, numbers, time_table, times
from stream_prune.report.run import Run


def tables(run: Run) -> list[Figure]:
    """Rows in use per table of a run, and how many came and went."""
    if not run.tables:
        return []
    used, churn = [], []
    for (name, table), colour in zip(run.tables.items(), colours(len(run.tables)), strict=True):
        line = {"color": colour, "width": 2}
        common = {"type": "scatter", "mode": "lines", "name": name, "line": line}
        used.append({**common, "x": times(table.time), "y": numbers(table.used)})
        moved = numbers(table.admitted + table.evicted)
        churn.append({**common, "x": times(table.churn_time), "y": moved})
    rows = [(name, t.time, t.used) for name, t in run.tables.items()]
    churned = [(name, t.churn_time, t.admitted + t.evicted) for name, t in run.tables.items()]
    return [
        Figure(
            f"rows_{identifier(run.name)}",
            f"Rows in use per table: {run.name}",
            "Rows in use of each embedding table (logarithmic).",
            used,
            {"yaxis": {"title": {"text": "rows"}, "type": "log"}},
            time_table(rows),
        ),
        Figure(
            f"churn_{identifier(run.name)}",
            f"Churn per table: {run.name}",
            "Rows admitted plus rows evicted since the point before, per table.",
            churn,
            {"yaxis": {"title": {"text": "rows admitted + evicted"}, "rangemode": "tozero"}},
            time_table(churned),
        ),
    ]
