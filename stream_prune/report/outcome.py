"""Plots of how runs ended: cost against quality, and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream_prune.report.figure import Figure, Trace, colours
from stream_prune.report.run import Run


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, loss) that no other one beats in both, by rising cost.

    >>> front([(1.0, 0.9), (2.0, 0.8), (3.0, 0.85)])
    [0, 1]
    """
    kept: list[int] = []
    for place in sorted(range(len(points)), key=lambda i: points[i]):
        if not kept or points[place][1] < points[kept[-1]][1]:
            kept.append(place)
    return kept


def cost_and_quality(runs: Sequence[Run]) -> list[Figure]:
    """Each run's mean MACs against its NE, and the Pareto front; nothing for fewer than two."""
    found = [
        (run, colour, macs, ne)
        for run, colour in zip(runs, colours(len(runs)), strict=True)
        if (macs := run.figure("mean_macs_inference")) and (ne := run.figure("ne"))
    ]
    if len(found) < 2:
        return []
    best = front([(macs, ne) for _, _, macs, ne in found])
    line: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "x": [found[i][2] for i in best],
        "y": [found[i][3] for i in best],
        "line": {"color": "#999999", "width": 1, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
    }
    dots: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": run.name,
            "x": [macs],
            "y": [ne],
            "marker": {"color": colour, "size": 12},
        }
        for run, colour, macs, ne in found
    ]
    axes = {
        "xaxis": {"type": "log", "title": {"text": "MACs per example scored, mean"}},
        "yaxis": {"title": {"text": "NE"}},
        "legend": {"y": -0.3},
    }
    named = {found[i][0].name for i in best}
    rows = [
        [run.name, f"{macs:,.0f}", f"{ne:.6f}", "yes" if run.name in named else ""]
        for run, _, macs, ne in found
    ]
    return [
        Figure(
            "pareto",
            "Cost against quality",
            "Lower and further left is better. A run on the dotted line is beaten by none that "
            "costs as little.",
            [line, *dots],
            axes,
            [["run", "MACs", "NE", "on the front"], *rows],
            over_time=False,
        )
    ]


def calibration(runs: Sequence[Run]) -> list[Figure]:
    """Observed rate over predicted one, in groups of rising scores, for each run that has them."""
    traces: list[Trace] = []
    table = [["run", "mean score", "observed rate", "rows"]]
    most = 0.0
    for run, colour in zip(runs, colours(len(runs)), strict=True):
        groups: Any = run.summary.get("reliability")
        if not isinstance(groups, Mapping) or not groups["rows"]:
            continue
        score, rate, rows = groups["score"], groups["rate"], groups["rows"]
        most = max(most, *score, *rate)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": run.name,
                "x": score,
                "y": rate,
                "text": [f"{count:,} rows" for count in rows],
                "line": {"color": colour, "width": 2},
            }
        )
        table += [
            [run.name, f"{s:.4f}", f"{r:.4f}", f"{n:,}"]
            for s, r, n in zip(score, rate, rows, strict=True)
        ]
    if not traces:
        return []
    ideal: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "calibrated",
        "x": [0, most],
        "y": [0, most],
        "line": {"color": "#999999", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }
    axes = {
        "xaxis": {"type": "linear", "title": {"text": "mean score"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "observed rate"}, "rangemode": "tozero"},
        "legend": {"y": -0.3},
    }
    return [
        Figure(
            "calibration",
            "Calibration",
            "Rows in fifteen groups of rising scores, over the whole stream: above the dotted line "
            "a model promises too little, below it too much.",
            [ideal, *traces],
            axes,
            table,
            over_time=False,
        )
    ]
