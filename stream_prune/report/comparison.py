"""The one table that compares runs: on the console after a quick start, and in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream_prune.report.run import Run

ABSENT = "–"


@dataclass(frozen=True)
class Column:
    """One figure of a run: its title, what it means, where it comes from, how it is written."""

    title: str
    meaning: str
    value: Callable[[Run], float | None]
    text: Callable[[float], str]


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _fixed(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


COLUMNS: tuple[Column, ...] = (
    Column(
        "NE",
        "prequential normalized entropy over the whole stream; lower is better",
        lambda run: run.figure("ne"),
        _fixed(4),
    ),
    Column(
        "AUC",
        "prequential area under the ROC curve over the whole stream; higher is better",
        lambda run: run.figure("auc"),
        _fixed(4),
    ),
    Column(
        "params",
        "parameters of the dense part, at the end of the stream",
        lambda run: run.figure("parameters"),
        _whole,
    ),
    Column(
        "rows",
        "embedding rows in use, all tables, at the end of the stream",
        lambda run: run.figure("rows_used"),
        _whole,
    ),
    Column(
        "MACs infer",
        "multiply-accumulates of the dense part for one example scored, mean over the stream",
        lambda run: run.figure("mean_macs_inference"),
        _whole,
    ),
    Column(
        "MACs train",
        "the same for one example learned (forward and backward)",
        lambda run: run.figure("mean_macs_training"),
        _whole,
    ),
    Column(
        "artifact kB",
        "all files that serving loads",
        lambda run: None if run.artifact_bytes is None else run.artifact_bytes / 1000,
        _whole,
    ),
    Column(
        "train ex/s",
        "examples scored, evaluated and learned per second of the training loop, all in all",
        lambda run: run.figure("clock", "examples_per_s"),
        _whole,
    ),
    Column(
        "latency ms",
        "one event scored from the artifact, median, one thread",
        lambda run: run.latency_ms,
        _fixed(3),
    ),
)


def cells(run: Run) -> list[str]:
    """The run's figures as text, in the order of :data:`COLUMNS`."""
    values = [column.value(run) for column in COLUMNS]
    return [
        ABSENT if value is None else column.text(value)
        for column, value in zip(COLUMNS, values, strict=True)
    ]


def verdict(run: Run) -> str:
    """What a model trained beside the run's own says of it, in words; empty where none was."""
    found = run.summary.get("reference")
    if not isinstance(found, Mapping):
        return ""
    own, other = found.get("ne"), found.get("ne_reference")
    sizes = f"{found['macs_inference']:,.0f} MACs"
    beside = "" if own is None or other is None else f", NE {other:.4f} beside {own:.4f}"
    return f"{run.name}: {found['verdict']} ({sizes}{beside})"


def served(run: Run) -> str:
    """What the scores that were really served are worth, in words; empty where the log has none."""
    found = run.summary.get("served")
    if not isinstance(found, Mapping) or found.get("ne") is None:
        return ""
    return (
        f"{run.name}: the scores that were served: NE {found['ne']:.4f}, AUC {found['auc']:.4f} "
        f"on {found['labelled']:,} events"
    )
