"""Plots of a figure of every run over event time, with what happened marked on it.

A trace's arrays are the journal's values as they are, except where a title says that they are
smoothed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stream_prune.report.figure import (
    Column,
    Figure,
    Trace,
    colours,
    numbers,
    time_table,
    times,
)
from stream_prune.report.run import Run

UNCHANGED = ("drift", "keep", "dropped", "guardrail")
"""Events that leave the model as it was; all others are drawn as re-adjustments."""
ALARM = "drift alarm"
ALARMS_TOP, ALARMS_STEP = 0.97, 0.05
"""Heights of the runs' alarms, 1 is the top of the plot."""


def smooth(values: np.ndarray, weights: np.ndarray, windows: int) -> np.ndarray:
    """Weighted mean of the last ``windows`` values [T]; what is NaN has no weight."""
    known = np.isfinite(values) & np.isfinite(weights)
    weight = np.where(known, weights, 0.0)
    total = np.cumsum(np.where(known, values, 0.0) * weight)
    mass = np.cumsum(weight)
    total[windows:] -= total[:-windows].copy()
    mass[windows:] -= mass[:-windows].copy()
    out = np.full(len(values), np.nan)
    np.divide(total, mass, out=out, where=mass > 0)
    return out


def over_time(
    runs: Sequence[Run],
    id_: str,
    title: str,
    label: str,
    values: Callable[[Run], np.ndarray],
    summary: str,
    *,
    marks: bool = False,
    step: bool = False,
    sparse: bool = False,
    settled: bool = False,
    axis: dict[str, Any] | None = None,
) -> Figure:
    """One line a run.

    Args:
        runs: what is compared.
        id_: of the plot.
        title: above it.
        label: of the y axis.
        values: a run's values [T] at its window ends.
        summary: in words, what is shown.
        marks: with drift alarms and re-adjustments.
        step: values hold until the next one.
        sparse: windows without a value are passed over, instead of being gaps.
        settled: the axis spans what comes after the first tenth.
        axis: further settings of the y axis.
    """
    traces: list[Trace] = []
    columns: list[Column] = []
    for i, (run, colour) in enumerate(zip(runs, colours(len(runs)), strict=True)):
        time, y = run.time, values(run)
        if sparse:
            time, y = time[np.isfinite(y)], y[np.isfinite(y)]
        if not np.isfinite(y).any():
            continue
        columns.append((run.name, time, y))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": run.name,
                "legendgroup": run.name,
                "x": times(time),
                "y": numbers(y),
                "line": {"color": colour, "width": 2, **({"shape": "hv"} if step else {})},
            }
        )
        if marks:
            traces += _marks(run, y, colour, ALARMS_TOP - ALARMS_STEP * i)
    layout: dict[str, Any] = {"yaxis": {"title": {"text": label}, **(axis or {})}}
    if any("yaxis" in trace for trace in traces):
        # Of their own scale, so that the alarms stay in sight wherever one zooms.
        hidden = {"visible": False, "fixedrange": True}
        layout["yaxis2"] = {"overlaying": "y", "range": [0, 1], **hidden}
        summary += " Triangles along the top are drift alarms, diamonds re-adjustments."
    if settled and columns:
        layout["yaxis"]["range"] = _settled_range([y for _, _, y in columns])
    return Figure(id_, title, summary, traces, layout, time_table(columns))


def _settled_range(series: Sequence[np.ndarray]) -> list[float]:
    """What the lines span after their first tenth, in which a mean over few rows jumps about."""
    late = np.concatenate([y[len(y) // 10 :] for y in series])
    low, high = np.nanmin(late), np.nanmax(late)
    margin = max(0.05 * (high - low), 1e-6)
    return [float(low - margin), float(high + margin)]


def _marks(run: Run, y: np.ndarray, colour: str, height: float) -> list[Trace]:
    """Drift alarms (triangles along the top) and re-adjustments (diamonds on the run's line).

    An alarm and what is done about it have the same time: in one place one would hide the other.
    """
    known = np.isfinite(y)
    if not known.any():
        return []
    events = [event for event in run.events if np.isfinite(event.time)]
    drawn: list[Trace] = []
    for name, symbol, chosen in (
        (ALARM, "triangle-down", [e for e in events if e.kind == "drift"]),
        ("re-adjustment", "diamond", [e for e in events if e.kind not in UNCHANGED]),
    ):
        if not chosen:
            continue
        at = np.array([event.time for event in chosen])
        if name == ALARM:
            place = {"y": [height] * len(at), "yaxis": "y2"}
        else:
            place = {"y": numbers(np.interp(at, run.time[known], y[known]))}
        drawn.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{run.name}: {name}",
                "x": times(at),
                **place,
                "text": [event.text for event in chosen],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 1}},
            }
        )
    return drawn
