"""From the runs of a comparison to its figures: per cell of the grid, and between cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stream_prune.comparison.series import Series
from stream_prune.errors import RunError
from stream_prune.evaluation.compare import Difference, paired_difference


class Cell(NamedTuple):
    """A place in the grid; its runs differ in their seeds alone. ``budget`` may be empty."""

    model: str
    policy: str
    budget: str

    def __str__(self) -> str:
        return " ".join(part for part in self if part)


@dataclass(frozen=True)
class Made:
    """A run that is finished: its seed, its summary and its windows."""

    seed: int
    summary: Mapping[str, Any]
    series: Series


@dataclass(frozen=True)
class Row:
    """A cell's figures: of each seed, by the names of :data:`FIGURES`; None: there is none.

    ``against`` is the cell that ``difference`` is from; both are None for the reference itself.
    """

    cell: Cell
    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float | None, ...]]
    against: Cell | None
    difference: Difference | None


def _figure(*keys: str) -> Callable[[Mapping[str, Any]], float | None]:
    def value(summary: Mapping[str, Any]) -> float | None:
        found: Any = summary
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            found = sum(found.values())
        return None if found is None else float(found)

    return value


FIGURES: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    **{
        name: _figure(f"{name}_after_warmup")
        for name in ("ne", "logloss", "auc", "calibration", "ece", "rce")
    },
    "ne_over_bayes": _figure("regret", "ne_over_bayes_after_warmup"),
    "macs_inference": _figure("mean_macs_inference_with_lookups"),
    "macs_training": _figure("mean_macs_training_with_lookups"),
    "parameters": _figure("parameters"),
    "rows": _figure("rows_used"),
    "memory_bytes": _figure("memory_bytes"),
    "artifact_bytes": _figure("artifact_bytes"),
    "checkpoint_bytes": _figure("clock", "checkpoint_bytes"),
    "seconds": _figure("clock", "seconds"),
    "examples_per_s": _figure("clock", "examples_per_s"),
    "joules": _figure("clock", "joules"),
    "drift_alarms": _figure("drift_alarms"),
}
"""What is told of every run; of quality after the warm-up, of cost over the whole run."""


def compare(
    runs: Mapping[Cell, Sequence[Made]], reference: str, block: float, warmup_rows: int
) -> list[Row]:
    """The figures of all cells, in their order, and how far each is from its reference.

    Args:
        runs: by cell, its seeds.
        reference: the policy that each cell is compared with, of its own model and budget; one
            without a budget serves all budgets.
        block: share of the windows that the bootstrap draws together.
        warmup_rows: labelled rows that are left out.

    Raises:
        RunError: runs saw different windows, or none is left after the warm-up.
    """
    rows = []
    for cell, made in runs.items():
        against = _reference(cell, reference, runs)
        difference = None if against is None else _paired(made, runs[against], block, warmup_rows)
        figures = {
            name: tuple(value(run.summary) for run in made) for name, value in FIGURES.items()
        }
        rows.append(Row(cell, tuple(run.seed for run in made), figures, against, difference))
    return rows


def _reference(cell: Cell, policy: str, runs: Mapping[Cell, Sequence[Made]]) -> Cell | None:
    for found in (cell._replace(policy=policy), cell._replace(policy=policy, budget="")):
        if found == cell:
            return None
        if found in runs:
            return found
    return None


def _paired(
    ours: Sequence[Made], theirs: Sequence[Made], block: float, warmup_rows: int
) -> Difference | None:
    """Over the seeds that both have; None where there is none."""
    others = {run.seed: run for run in theirs}
    pairs = [(run, others[run.seed]) for run in ours if run.seed in others]
    if not pairs:
        return None
    first = pairs[0][0].series
    for run in (run for pair in pairs for run in pair):
        if not run.series.same_rows(first):
            raise RunError(
                f"runs of seed {run.seed} saw other windows than those beside them: the log has "
                "changed since; compare in a new folder"
            )
    late = first.after(warmup_rows)
    windows = int(late.sum())
    if not windows:
        raise RunError(
            f"no window is left after a warm-up of {warmup_rows:,} rows: "
            "lower evaluation.warmup_rows or replay more"
        )
    losses = (
        np.stack([run.series.loss[late] for run in side]) for side in zip(*pairs, strict=True)
    )
    return paired_difference(*losses, block=max(1, round(block * windows)))
