"""The plot of what each layer has kept, over time."""

from __future__ import annotations

import numpy as np

from stream_prune.report.figure import Figure, colours, identifier, numbers, time_table, times
from stream_prune.report.run import Run


def layers(run: Run) -> list[Figure]:
    """Kept share of the units of every group of a run; nothing where none was resized."""
    history = run.widths
    if not history or not len(run.time):
        return []
    traces, columns = [], []
    for (name, (at, units)), colour in zip(history.items(), colours(len(history)), strict=True):
        time = np.array([*at, max(run.time[-1], at[-1])])
        time[0] = min(run.time[0], time[1])
        share = np.array([*units, units[-1]]) / max(units)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": times(time),
                "y": numbers(share),
                "line": {"color": colour, "width": 2, "shape": "hv"},
            }
        )
        columns.append((name, time, share))
    return [
        Figure(
            f"layers_{identifier(run.name)}",
            f"Density per layer: {run.name}",
            "Kept share of the units of every group of layers. One threshold over all of them "
            "decides, so that layers take unequal shares.",
            traces,
            {"yaxis": {"title": {"text": "kept share of the units"}, "range": [0, 1.05]}},
            time_table(columns),
        )
    ]
