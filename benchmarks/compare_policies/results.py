"""From the runs of a log to its figures: per policy, and between policies."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compare_policies.logs import SEARCHED
from compare_policies.runs import Series
from compare_policies.study import Study
from stream_prune.evaluation.compare import Difference, paired_difference, recovery
from stream_prune.evaluation.entropy import normalized_entropy

BLOCK = 0.03
"""Share of the windows that the bootstrap draws together: as long as a recovery."""

REFERENCES = ("dense", "static", "small_dense", "small_dense_on_drift")
"""What every policy is compared with."""


@dataclass(frozen=True)
class Row:
    """A policy's figures on a log; shares are of the dense run's.

    Attributes:
        rate: the learning rate found.
        ne, auc: of each seed, over the scored part.
        recovery: of each planted drift, the NE after it relative to dense's; all seeds together.
        macs_training: per learned example, over the whole stream.
        macs_inference: per example, over the scored part.
        weights: of the model without its embeddings, at the end.
        seconds: of the whole run, each seed.
        events: how often something happened, each seed.
    """

    rate: float
    ne: tuple[float, ...]
    auc: tuple[float, ...]
    recovery: tuple[float, ...]
    macs_training: float
    macs_inference: float
    weights: float
    seconds: tuple[float, ...]
    events: tuple[dict[str, int], ...]


@dataclass(frozen=True)
class Results:
    """What is told of a log.

    Attributes:
        rows: by policy.
        differences: by policy and by what it is compared with; above 0 the policy is worse.
        windows, block: scored windows, and how many the bootstrap draws together.
    """

    study: Study
    rows: Mapping[str, Row]
    differences: Mapping[str, Mapping[str, Difference]]
    windows: int
    block: int

    @property
    def name(self) -> str:
        return self.study.stream.log.name


def results(study: Study) -> Results:
    """Figures of a log. Without a dense run there are no shares and no recovery."""
    series = {policy: _stack(each) for policy, each in study.outcomes.items()}
    scored = {policy: _scored(study, found) for policy, found in series.items()}
    windows = next(iter(scored.values())).loss.shape[1]
    block = max(1, round(BLOCK * windows))
    differences = {
        policy: {
            reference: paired_difference(ours.loss, scored[reference].loss, block=block)
            for reference in REFERENCES
            if reference in scored and reference != policy
        }
        for policy, ours in scored.items()
    }
    rows = {policy: _row(study, policy, scored) for policy in study.outcomes}
    return Results(study, rows, differences, windows, block)


@dataclass(frozen=True)
class Stack:
    """The series of a policy's seeds, which saw the same windows: loss [seeds, windows]."""

    ends: npt.NDArray[np.int64]
    labelled: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]


def _stack(outcomes: Any) -> Stack:
    every: list[Series] = [outcome.series for outcome in outcomes]
    first = every[0]
    for other in every[1:]:
        if not np.array_equal(first.ends, other.ends):
            raise ValueError("runs over different windows cannot be compared")
    loss = np.stack([series.loss for series in every])
    return Stack(first.ends, first.labelled, first.positives, loss)


def _scored(study: Study, found: Stack) -> Stack:
    """The windows of which every row lies after the part on which rates were searched."""
    before = np.cumsum(found.labelled) - found.labelled
    late = before >= study.stream.rows(SEARCHED)
    return Stack(found.ends[late], found.labelled[late], found.positives[late], found.loss[:, late])


def _row(study: Study, policy: str, scored: Mapping[str, Stack]) -> Row:
    outcomes, ours, dense = study.outcomes[policy], scored[policy], scored["dense"]
    full = study.outcomes["dense"][0].summary
    drifts = study.stream.drifts
    return Row(
        rate=study.rates[policy],
        ne=tuple(_ne(ours, loss) for loss in ours.loss),
        auc=tuple(outcome.summary["auc_after_warmup"] for outcome in outcomes),
        recovery=recovery(ours.loss, dense.loss, ours.ends, drifts),
        macs_training=_mean(outcomes, "mean_macs_training") / full["macs_training"],
        macs_inference=_mean(outcomes, "mean_macs_inference_after_warmup") / full["macs_inference"],
        weights=_mean(outcomes, "parameters") / full["parameters"],
        seconds=tuple(outcome.summary["clock"]["seconds"] for outcome in outcomes),
        events=tuple(
            {name: outcome.summary[name] for name in EVENTS if outcome.summary[name]}
            for outcome in outcomes
        ),
    )


EVENTS = (
    "drift_alarms",
    "shrinks",
    "grows",
    "rewirings",
    "derivations",
    "reverts",
    "dropped_steps",
    "rollbacks",
)


def _ne(found: Stack, loss: npt.NDArray[np.float64]) -> float:
    rows = int(found.labelled.sum())
    ne = normalized_entropy(float(loss.sum()) / rows, int(found.positives.sum()), rows)
    assert ne is not None
    return ne


def _mean(outcomes: Any, figure: str) -> float:
    return statistics.fmean(outcome.summary[figure] for outcome in outcomes)
