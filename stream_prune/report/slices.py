"""The report's table of slices: figures of single categories, where a run was told to keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream_prune.report.run import Run

COLUMNS = ("column", "category", "rows", "NE", "AUC", "calibration")
"""Figures of a slice; calibration is expected over observed positives."""

ABSENT = "–"


def slices(runs: Sequence[Run]) -> list[list[str]]:
    """A row a slice and run, the run's name first; the largest slices of a column come first."""
    rows = []
    for run in runs:
        found = run.summary.get("slices")
        for column, categories in (found if isinstance(found, Mapping) else {}).items():
            for name, figures in sorted(categories.items(), key=lambda kv: -kv[1]["labelled"]):
                told = (figures[key] for key in ("ne", "auc", "calibration"))
                cells = (ABSENT if value is None else f"{value:.4f}" for value in told)
                rows.append([run.name, column, name, f"{figures['labelled']:,}", *cells])
    return rows
