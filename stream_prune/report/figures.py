"""The report's plots, as plain dictionaries that plotly.js draws, and the same values as tables.

A trace's arrays are the journal's values as they are, except where a title says that they are
smoothed. Colours of text, grid and paper are the page's business: they follow dark and light.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stream_prune.report.run import Run

SMOOTHED_WINDOWS = 14
UNCHANGED = ("drift", "keep", "dropped", "guardrail")
"""Events that leave the model as it was; all others are drawn as re-adjustments."""
ALARM = "drift alarm"
ALARMS_TOP, ALARMS_STEP = 0.97, 0.05
"""Heights of the runs' alarms, 1 is the top of the plot."""
TABLE_ROWS = 200
# After Okabe and Ito: told apart by most colour-blind readers, on black and on white.
COLOURS = ("#2b83ba", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a7f00", "#999999")

Trace = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One plot; ``summary`` says in words what it shows, ``table`` has its values, header first."""

    id: str
    title: str
    summary: str
    traces: list[Trace]
    layout: dict[str, Any]
    table: list[list[str]]


def figures(runs: Sequence[Run]) -> list[Figure]:
    """All plots that the runs have data for."""
    drawn = [
        _over_time(
            runs,
            "ne",
            "Normalized entropy, cumulative",
            "NE since the start",
            lambda run: run.column("ne_cumulative"),
            "Prequential normalized entropy over all evaluated events so far; lower is better, "
            "1 is what the running base rate gives. The first tenth is out of range until a double "
            "click.",
            marks=True,
            settled=True,
        ),
        _over_time(
            runs,
            "ne_window",
            f"Normalized entropy, mean of {SMOOTHED_WINDOWS} windows",
            "NE of recent windows",
            lambda run: smooth(run.column("ne"), run.column("labelled"), SMOOTHED_WINDOWS),
            f"Each window's own normalized entropy, weighted by its events over "
            f"{SMOOTHED_WINDOWS} windows; lower is better.",
            marks=True,
        ),
        _over_time(
            runs,
            "auc",
            "AUC, sliding",
            "AUC",
            lambda run: run.column("sliding_auc"),
            "Area under the ROC curve over the last evaluated events; higher is better.",
            sparse=True,
        ),
        _over_time(
            runs,
            "macs",
            "MACs per example (inference)",
            "MACs",
            lambda run: run.column("macs_inference"),
            "Multiply-accumulates of the dense part for one example, counted from the live shapes.",
            step=True,
            axis={"rangemode": "tozero"},
        ),
        _over_time(
            runs,
            "density",
            "Density of the dense part",
            "kept share of the MACs",
            lambda run: run.density,
            "MACs over the dense model's MACs; 1 is the full model.",
            step=True,
            axis={"range": [0, 1.05]},
        ),
        _over_time(
            runs,
            "rows",
            "Embedding rows in use",
            "rows",
            lambda run: run.rows_used,
            "Rows in use over all embedding tables.",
            axis={"rangemode": "tozero"},
        ),
        *(figure for run in runs for figure in _tables_of(run)),
    ]
    return [figure for figure in drawn if figure.traces]


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


def _over_time(
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
    traces: list[Trace] = []
    columns: list[tuple[str, np.ndarray, np.ndarray]] = []
    for i, (run, colour) in enumerate(zip(runs, _colours(len(runs)), strict=True)):
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
                "x": _times(time),
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
    return Figure(id_, title, summary, traces, layout, _table("window end (UTC)", columns))


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
                "x": _times(at),
                **place,
                "text": [event.text for event in chosen],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 1}},
            }
        )
    return drawn


def _tables_of(run: Run) -> list[Figure]:
    """Rows in use per table, and how many rows came and went."""
    if not run.tables:
        return []
    colours = _colours(len(run.tables))
    used, churn = [], []
    for (name, table), colour in zip(run.tables.items(), colours, strict=True):
        line = {"color": colour, "width": 2}
        common = {"type": "scatter", "mode": "lines", "name": name, "line": line}
        used.append({**common, "x": _times(table.time), "y": numbers(table.used)})
        moved = numbers(table.admitted + table.evicted)
        churn.append({**common, "x": _times(table.churn_time), "y": moved})
    tables = [(name, t.time, t.used) for name, t in run.tables.items()]
    churned = [(name, t.churn_time, t.admitted + t.evicted) for name, t in run.tables.items()]
    log = {"yaxis": {"title": {"text": "rows"}, "type": "log"}}
    come_and_go = {"yaxis": {"title": {"text": "rows admitted + evicted"}, "rangemode": "tozero"}}
    key = run.name.replace(" ", "_")
    return [
        Figure(
            f"rows_{key}",
            f"Rows in use per table: {run.name}",
            "Rows in use of each embedding table (logarithmic).",
            used,
            log,
            _table("window end (UTC)", tables),
        ),
        Figure(
            f"churn_{key}",
            f"Churn per table: {run.name}",
            "Rows admitted plus rows evicted since the point before, per table.",
            churn,
            come_and_go,
            _table("window end (UTC)", churned),
        ),
    ]


def _table(first: str, columns: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> list[list[str]]:
    """Values side by side by time; at most :data:`TABLE_ROWS` rows, evenly spaced."""
    if not columns:
        return []
    times = np.unique(np.concatenate([time for _, time, _ in columns]))
    if len(times) > TABLE_ROWS:
        times = times[np.unique(np.linspace(0, len(times) - 1, TABLE_ROWS).round().astype(int))]
    known = [dict(zip(time.tolist(), y.tolist(), strict=True)) for _, time, y in columns]
    rows = [[first, *(name for name, _, _ in columns)]]
    for time in times.tolist():
        cells = (values.get(time, float("nan")) for values in known)
        rows.append([_minute(time), *("" if np.isnan(v) else f"{v:,.6g}" for v in cells)])
    return rows


def numbers(values: np.ndarray) -> list[float | None]:
    """JSON has no NaN: null is a gap in the line."""
    return [v if np.isfinite(v) else None for v in values.tolist()]


def _times(milliseconds: np.ndarray) -> list[str]:
    return [_minute(ms) for ms in milliseconds.tolist()]


def _minute(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
