"""What a plot of the report is: plain dictionaries that plotly.js draws, and its values as a table.

Colours of text, grid and paper are the page's business: they follow dark and light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

TABLE_ROWS = 200
# After Okabe and Ito: told apart by most colour-blind readers, on black and on white.
COLOURS = ("#2b83ba", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a7f00", "#999999")

Trace = dict[str, Any]
Column = tuple[str, np.ndarray, np.ndarray]
"""A name, times [T] (ms) and values [T]."""


@dataclass(frozen=True)
class Figure:
    """One plot.

    Attributes:
        id: of its element, unique on the page.
        title: above it.
        summary: in words, what it shows.
        traces: plotly's.
        layout: plotly's, where it differs from the page's own.
        table: its values, header first.
        over_time: its x axis is the event time.
    """

    id: str
    title: str
    summary: str
    traces: list[Trace]
    layout: dict[str, Any]
    table: list[list[str]]
    over_time: bool = True


def time_table(columns: Sequence[Column]) -> list[list[str]]:
    """Values side by side by window end; at most :data:`TABLE_ROWS` rows, evenly spaced."""
    if not columns:
        return []
    times = np.unique(np.concatenate([time for _, time, _ in columns]))
    if len(times) > TABLE_ROWS:
        times = times[np.unique(np.linspace(0, len(times) - 1, TABLE_ROWS).round().astype(int))]
    known = [dict(zip(time.tolist(), y.tolist(), strict=True)) for _, time, y in columns]
    rows = [["window end (UTC)", *(name for name, _, _ in columns)]]
    for time in times.tolist():
        cells = (values.get(time, float("nan")) for values in known)
        rows.append([minute(time), *("" if np.isnan(v) else f"{v:,.6g}" for v in cells)])
    return rows


def numbers(values: np.ndarray) -> list[float | None]:
    """JSON has no NaN: null is a gap in the line."""
    return [v if np.isfinite(v) else None for v in values.tolist()]


def times(milliseconds: np.ndarray) -> list[str]:
    """Times as plotly.js reads them."""
    return [minute(ms) for ms in milliseconds.tolist()]


def minute(milliseconds: float) -> str:
    """A time (ms) in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def colours(count: int) -> list[str]:
    """So many colours; the first eight differ."""
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def identifier(name: str) -> str:
    """A run's name as a part of an element's id."""
    return name.replace(" ", "_")
