"""The report's plots."""

from __future__ import annotations

from collections.abc import Sequence

from stream_prune.report.figure import Figure
from stream_prune.report.layers import layers
from stream_prune.report.outcome import calibration, cost_and_quality
from stream_prune.report.over_time import over_time, smooth
from stream_prune.report.run import Run
from stream_prune.report.tables import tables

SMOOTHED_WINDOWS = 14


def figures(runs: Sequence[Run]) -> list[Figure]:
    """All plots that the runs have data for."""
    drawn = [
        over_time(
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
        over_time(
            runs,
            "ne_window",
            f"Normalized entropy, mean of {SMOOTHED_WINDOWS} windows",
            "NE of recent windows",
            lambda run: smooth(run.column("ne"), run.column("labelled"), SMOOTHED_WINDOWS),
            f"Each window's own normalized entropy, weighted by its events over "
            f"{SMOOTHED_WINDOWS} windows; lower is better.",
            marks=True,
        ),
        over_time(
            runs,
            "auc",
            "AUC, sliding",
            "AUC",
            lambda run: run.column("sliding_auc"),
            "Area under the ROC curve over the last evaluated events; higher is better.",
            sparse=True,
        ),
        over_time(
            runs,
            "macs",
            "MACs per example (inference)",
            "MACs",
            lambda run: run.column("macs_inference"),
            "Multiply-accumulates of the dense part for one example, counted from the live shapes.",
            step=True,
            axis={"rangemode": "tozero"},
        ),
        over_time(
            runs,
            "density",
            "Density of the dense part",
            "kept share of the MACs",
            lambda run: run.density,
            "MACs over the dense model's MACs; 1 is the full model.",
            step=True,
            axis={"range": [0, 1.05]},
        ),
        over_time(
            runs,
            "rows",
            "Embedding rows in use",
            "rows",
            lambda run: run.rows_used,
            "Rows in use over all embedding tables.",
            axis={"rangemode": "tozero"},
        ),
        *(figure for run in runs for figure in (*layers(run), *tables(run))),
        *cost_and_quality(runs),
        *calibration(runs),
    ]
    return [figure for figure in drawn if figure.traces]
