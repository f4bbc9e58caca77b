"""The results as tables: for the console and, in Markdown, for the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from compare_policies.narrowing import narrowing
from compare_policies.results import REFERENCES, Results, Row
from stream_prune.evaluation.compare import Difference

COLUMNS = (
    "policy",
    "rate",
    "NE",
    "±",
    "AUC",
    "recovery",
    "MACs train",
    "MACs infer",
    "weights",
    "seconds",
)
WORDS = {"below": "better", "above": "worse", "tie": "tie"}

Table = Sequence[Sequence[str]]


def figures_table(log: Results) -> Table:
    """A line per policy: means over seeds, and half the range of NE."""
    return [COLUMNS, *([policy, *_figures(row)] for policy, row in log.rows.items())]


def differences_table(log: Results) -> Table:
    """A line per policy: how far its NE is above that of each reference, interval, verdict."""
    there = [reference for reference in REFERENCES if reference in log.rows]
    return [
        ["NE above that of", *there],
        *(
            [policy, *(_difference(against.get(reference)) for reference in there)]
            for policy, against in log.differences.items()
        ),
    ]


def console(log: Results) -> str:
    """Both tables and what they are of, in columns."""
    seeds, stream = len(log.study.seeds), log.study.stream
    return "\n\n".join(
        [
            f"\n== {log.name}: {stream.log.rows:,} rows, {len(stream.drifts)} planted drifts, "
            f"{seeds} seed{'s' * (seeds > 1)}",
            _aligned(figures_table(log)),
            _aligned(differences_table(log)),
            *_edge(log),
        ]
    )


def markdown(found: Iterable[Results]) -> str:
    """All logs' tables."""
    parts = []
    for log in found:
        stream = log.study.stream
        parts += [
            f"## {log.name}",
            f"{stream.log.rows:,} rows, {len(stream.drifts)} planted drifts, "
            f"{len(log.study.seeds)} seed(s), {log.windows:,} scored windows in blocks of "
            f"{log.block}.",
            _piped(figures_table(log)),
            _piped(differences_table(log)),
            *_edge(log),
        ]
        saved = narrowing(log.study)
        if saved is not None:
            there = saved.dense_macs_there
            parts.append(
                f"amgp trains with {saved.macs:.0%} of dense's MACs in {saved.seconds:.0%} of its "
                f"time and ends at an NE of {saved.ne:.4f} (dense: {saved.dense_ne:.4f}) over the "
                "last 5 % of the rows; dense "
                + (
                    "never was that low before."
                    if there is None
                    else f"first was that low after {there:.0%} of its own MACs."
                )
            )
    return "\n\n".join(parts) + "\n"


def _edge(log: Results) -> list[str]:
    found = log.study.at_edge
    return [f"At the edge of the rates that were tried: {', '.join(found)}."] if found else []


def _figures(row: Row) -> list[str]:
    recovered = f"{100 * statistics.fmean(row.recovery):+.2f} %" if row.recovery else "-"
    return [
        f"{row.rate:g}",
        f"{statistics.fmean(row.ne):.4f}",
        f"{(max(row.ne) - min(row.ne)) / 2:.4f}",
        f"{statistics.fmean(row.auc):.4f}",
        recovered,
        f"{row.macs_training:.0%}",
        f"{row.macs_inference:.0%}",
        f"{row.weights:.0%}",
        f"{statistics.fmean(row.seconds):.1f}",
    ]


def _difference(found: Difference | None) -> str:
    if found is None:
        return ""
    value, low, high = (100 * x for x in (found.value, found.low, found.high))
    return f"{value:+.2f} % ({low:+.2f} to {high:+.2f}) {WORDS[found.verdict()]}"


def _aligned(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )


def _piped(table: Table) -> str:
    head, *body = table
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
