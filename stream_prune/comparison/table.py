"""The result table of a comparison: for the console, as CSV, and in Markdown."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stream_prune.comparison.results import FIGURES, Cell, Row

ABSENT = "–"
WORDS = {"below": "better", "above": "worse", "tie": "tie"}

Table = list[list[str]]


@dataclass(frozen=True)
class Column:
    """A figure in the table: its title, its name among the figures, how its mean is written."""

    title: str
    figure: str
    text: Callable[[float], str]
    spread: bool = False


def _decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


COLUMNS = (
    Column("NE", "ne", _decimals(4), spread=True),
    Column("AUC", "auc", _decimals(4)),
    Column("calibration", "calibration", _decimals(3)),
    Column("ECE", "ece", _decimals(4)),
    Column("NE / Bayes", "ne_over_bayes", _decimals(4)),
    Column("MACs infer", "macs_inference", _whole),
    Column("MACs train", "macs_training", _whole),
    Column("rows", "rows", _whole),
    Column("memory MB", "memory_bytes", lambda value: f"{value / 1e6:.1f}"),
    Column("artifact kB", "artifact_bytes", lambda value: f"{value / 1e3:,.0f}"),
    Column("seconds", "seconds", _decimals(1)),
    Column("kJ", "joules", lambda value: f"{value / 1000:.2f}"),
)


def table(rows: Sequence[Row], reference: str) -> Table:
    """A line per cell, header first: means over seeds, half the range of NE, and the difference.

    Columns that no run has a figure for are left out.
    """
    shown = [c for c in COLUMNS if any(_known(row, c.figure) for row in rows)]
    models, budgets = (len({getattr(row.cell, n) for row in rows}) > 1 for n in ("model", "budget"))
    header = [*(["model"] if models else []), "policy", *(["budget"] if budgets else []), "seeds"]
    for column in shown:
        header += [column.title, "±"] if column.spread else [column.title]
    lines = [[*header, f"NE against {reference}"]]
    for row in rows:
        cell = row.cell
        line = [*([cell.model] if models else []), cell.policy, *([cell.budget] if budgets else [])]
        line.append(str(len(row.seeds)))
        for column in shown:
            line += _cells(row, column)
        lines.append([*line, difference(row)])
    return lines


def difference(row: Row) -> str:
    """In words: how far NE lies above the reference's, its interval, and what that means."""
    found = row.difference
    if found is None:
        return ""
    value, low, high = (100 * x for x in (found.value, found.low, found.high))
    return f"{value:+.2f} % ({low:+.2f} to {high:+.2f}) {WORDS[found.verdict()]}"


def markdown(lines: Table, names: int) -> str:
    """The table in Markdown; the first ``names`` columns to the left."""
    head, *body = lines
    rule = ["---" if place < names else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body)) + "\n"


def cells_csv(rows: Sequence[Row]) -> str:
    """A line per cell: mean and half the range of every figure, and the difference in full."""
    header = ["model", "policy", "budget", "seeds"]
    header += [f"{name}{part}" for name in FIGURES for part in ("", "_spread")]
    header += ["against", "difference", "low", "high", "seed_spread", "verdict"]
    lines: list[list[object]] = [list(header)]
    for row in rows:
        line: list[object] = [*row.cell, len(row.seeds)]
        for name in FIGURES:
            values = _known(row, name)
            line += [statistics.fmean(values), _spread(values)] if values else ["", ""]
        found = row.difference
        if found is None:
            line += [""] * 6
        else:
            line += [row.against, found.value, found.low, found.high, found.spread, found.verdict()]
        lines.append(line)
    return _csv(lines)


def runs_csv(rows: Sequence[Row]) -> str:
    """A line per run, with all its figures."""
    lines: list[list[object]] = [["model", "policy", "budget", "seed", *FIGURES]]
    for row in rows:
        for place, seed in enumerate(row.seeds):
            values = (row.figures[name][place] for name in FIGURES)
            lines.append([*row.cell, seed, *("" if v is None else v for v in values)])
    return _csv(lines)


def rates_csv(
    losses: Mapping[tuple[Cell, float], float],
    rates: Mapping[tuple[Cell, float], float],
    chosen: Mapping[Cell, float],
) -> str:
    """A line per learning rate that was tried: multiplier, rate, mean NE, whether it was chosen."""
    lines: list[list[object]] = [["model", "policy", "budget", "times", "rate", "ne", "chosen"]]
    for (cell, times), rate in rates.items():
        ne = losses.get((cell, times), "")
        lines.append([*cell, times, rate, ne, int(chosen[cell] == times)])
    return _csv(lines)


def _cells(row: Row, column: Column) -> list[str]:
    values = _known(row, column.figure)
    if not values:
        return [ABSENT] * (1 + column.spread)
    mean = column.text(statistics.fmean(values))
    return [mean, column.text(_spread(values))] if column.spread else [mean]


def _known(row: Row, figure: str) -> list[float]:
    return [value for value in row.figures[figure] if value is not None]


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / 2


def _csv(lines: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
