"""The plots of fitted laws: points, curve, band, and what was held out; one HTML file."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stream_prune.errors import RunError
from stream_prune.scaling.study import REACH, Study

COLOURS = ("#2b83ba", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a7f00")
CURVE_POINTS = 120
_CSS = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { max-width: 70rem; margin: auto; padding: 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child { text-align: left; }
"""


def write_plots(fitted: Mapping[str, Study], words: str, path: Path) -> Path:
    """Write the page on ``fitted`` laws by name; ``words`` say what is scaled.

    Raises:
        RunError: the file can't be written.
    """
    from plotly.graph_objects import Figure
    from plotly.offline import get_plotlyjs

    traces = [
        trace
        for number, (name, found) in enumerate(fitted.items())
        for trace in _traces(name, found, COLOURS[number % len(COLOURS)])
    ]
    figure = Figure(
        traces,
        {
            "xaxis": {"type": "log", "title": {"text": words}},
            "yaxis": {"title": {"text": "NE"}},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(128,128,128,.06)",
            "font": {"color": "#808080"},
            "legend": {"orientation": "h", "y": -0.2},
            "margin": {"t": 10},
        },
    )
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True})
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Scaling laws</title><style>{_CSS}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><h1>NE along {html.escape(words)}</h1>{plot}{_table(fitted)}{_reasons(fitted)}"
        "</body></html>"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _traces(name: str, found: Study, colour: str) -> list[dict[str, Any]]:
    reach = 1.0 if found.refusal else REACH
    x = np.geomspace(found.x.min(), reach * found.x.max(), CURVE_POINTS)
    low, high = found.band(x)
    common: dict[str, Any] = {"type": "scatter", "legendgroup": name}
    line = {"color": colour, "width": 2}
    return [
        common
        | {
            "x": np.concatenate([x, x[::-1]]).tolist(),
            "y": np.concatenate([high, low[::-1]]).tolist(),
            "fill": "toself",
            "mode": "none",
            "fillcolor": f"{colour}33",
            "name": f"{name}: 95 % band",
            "hoverinfo": "skip",
        },
        common
        | {
            "x": x.tolist(),
            "y": found.law.curve(x).tolist(),
            "mode": "lines",
            "line": line,
            "name": f"{name}: a x^-b + c",
        },
        common
        | {
            "x": found.x.tolist(),
            "y": found.loss.tolist(),
            "mode": "markers",
            "marker": {"color": colour, "size": 8},
            "name": f"{name}: runs",
        },
    ]


def _table(fitted: Mapping[str, Study]) -> str:
    head = "<tr><th>kind</th><th>points</th><th>a</th><th>b</th><th>c</th><th>held out</th></tr>"
    lines = []
    for name, found in fitted.items():
        cells = [html.escape(name), str(len(found.x))]
        for key in "abc":
            low, high = found.interval(key)
            cells.append(f"{getattr(found.law, key):.4g} ({low:.4g} to {high:.4g})")
        cells.append(", ".join(f"{100 * error:+.2f} %" for _, error in found.held_out) or "none")
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table>{head}{''.join(lines)}</table>"


def _reasons(fitted: Mapping[str, Study]) -> str:
    return "".join(
        f"<p><b>{html.escape(name)}</b> is not extrapolated: {html.escape(found.refusal)}.</p>"
        for name, found in fitted.items()
        if found.refusal
    )
