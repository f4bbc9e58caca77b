"""From the runs of a log to a line per model and variant, and to figures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from compare_policies.contenders import BUDGET
from compare_policies.logs import SEARCHED
from compare_policies.results import BLOCK
from compare_policies.runs import Outcome
from compare_policies.study import Study
from record import Figure

from compare_models.heads import VARIANTS, label
from stream_prune.evaluation.compare import Difference, paired_difference

ROUNDING = 1.02
"""A settled plan lies within one rounding step of the budget."""


@dataclass(frozen=True)
class Line:
    """A model's variant on a log.

    Attributes:
        rate: the learning rate found.
        at_edge: whether it is the lowest or highest of those tried.
        ne, auc: of each seed, after the part on which rates were searched.
        macs: of the dense part per example at the end, mean over seeds.
        full_macs: of the dense model.
        mean_macs: per example over the scored part (regrowth counts).
        megabytes: of float32 weights, embedding rows included, at the end.
        examples_per_s: that a training step learns, one core; see ``speed``.
        above_dense: NE above the same model's dense one, paired over windows; None for dense.
        above_budget: why a seed's plan is above the budget at the end; empty where none is.
    """

    rate: float
    at_edge: bool
    ne: tuple[float, ...]
    auc: tuple[float, ...]
    macs: float
    full_macs: float
    mean_macs: float
    megabytes: float
    examples_per_s: float
    above_dense: Difference | None
    above_budget: str


def lines(study: Study, models: Sequence[str], speeds: Mapping[str, float]) -> dict[str, Line]:
    """A line per model and variant."""
    return {
        label(model, variant): _line(study, model, variant, speeds)
        for model in models
        for variant in VARIANTS
    }


def figures(log: str, found: Mapping[str, Line]) -> list[Figure]:
    """What the comparison says, and whether every model holds the budget."""
    told = []
    for name, line in found.items():
        title = f"{log}: {name}: "
        spread = f"{min(line.ne):.4f} to {max(line.ne):.4f}"
        told += [
            Figure(title + "NE", statistics.fmean(line.ne), "", note=spread),
            Figure(title + "AUC", statistics.fmean(line.auc), ""),
            Figure(title + "examples learned", line.examples_per_s / 1e3, "k/s"),
            Figure(title + "weights", line.megabytes, "MB"),
        ]
        share = line.macs / line.full_macs
        if line.above_dense is None:
            told.append(Figure(title + "MACs an example", line.macs / 1e3, "k"))
            continue
        held: bool | None = share <= BUDGET * ROUNDING
        if line.above_budget.startswith("grown"):  # a drift shortly before the end
            held = None
        told += [
            Figure(
                title + "MACs at the end",
                share,
                "of dense",
                f"<= {BUDGET}",
                held,
                note=line.above_budget,
            ),
            Figure(title + "MACs after the warm-up", line.mean_macs / line.full_macs, "of dense"),
            Figure(
                title + "NE above dense", 100 * line.above_dense.value, "%", note=_verdict(line)
            ),
        ]
    return told


def table(log: str, study: Study, found: Mapping[str, Line]) -> str:
    """As Markdown."""
    head = ["model", "rate", "NE", "±", "AUC", "MACs", "MB", "k examples/s", "NE above dense"]
    rows = [
        [
            name + ("*" if line.at_edge else ""),
            f"{line.rate:g}",
            f"{statistics.fmean(line.ne):.4f}",
            f"{(max(line.ne) - min(line.ne)) / 2:.4f}",
            f"{statistics.fmean(line.auc):.4f}",
            f"{line.macs / 1e3:,.0f} k",
            f"{line.megabytes:.2f}",
            f"{line.examples_per_s / 1e3:.1f}",
            _verdict(line),
        ]
        for name, line in found.items()
    ]
    text = [f"## {log}", "", f"{study.stream.log.rows:,} rows, {len(study.seeds)} seed(s).", ""]
    text += ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join([*text, "", "\\* the rate is the lowest or highest that was tried.", ""])


def _line(study: Study, model: str, variant: str, speeds: Mapping[str, float]) -> Line:
    name = label(model, variant)
    outcomes = study.outcomes[name]
    summaries = [outcome.summary for outcome in outcomes]

    def mean(of: str) -> float:
        return statistics.fmean(summary[of] for summary in summaries)

    weights = mean("parameters") + mean("embedding_parameters")
    return Line(
        rate=study.rates[name],
        at_edge=name in study.at_edge,
        ne=tuple(summary["ne_after_warmup"] for summary in summaries),
        auc=tuple(summary["auc_after_warmup"] for summary in summaries),
        macs=mean("macs_inference"),
        full_macs=mean("dense_macs_inference"),
        mean_macs=mean("mean_macs_inference_after_warmup"),
        megabytes=4 * weights / 1e6,
        examples_per_s=speeds[name],
        above_dense=None if variant == "dense" else _above(study, outcomes, model),
        above_budget=_above_budget(summaries),
    )


def _above_budget(summaries: Sequence[Mapping[str, Any]]) -> str:
    stands = [summary["budget"]["macs"] for summary in summaries if "budget" in summary]
    return next((macs["why"] for macs in stands if not macs["met"]), "")


def _above(study: Study, outcomes: Sequence[Outcome], model: str) -> Difference:
    dense = study.outcomes[label(model, "dense")]
    series = dense[0].series
    assert series is not None
    before = np.cumsum(series.labelled) - series.labelled
    late = before >= study.stream.rows(SEARCHED)
    block = max(1, round(BLOCK * int(late.sum())))
    ours, theirs = (np.stack([_loss(each)[late] for each in runs]) for runs in (outcomes, dense))
    return paired_difference(ours, theirs, block=block)


def _loss(outcome: Outcome) -> Any:
    assert outcome.series is not None
    return outcome.series.loss


def _verdict(line: Line) -> str:
    if line.above_dense is None:
        return ""
    return f"{100 * line.above_dense.value:+.2f} % ({line.above_dense.verdict()})"
