"""What training with alternate growth and pruning saves against dense training, and at what NE.

Both run over the whole stream. Compared are the NE of the last 5 % of its rows, on which they can
be compared, the MACs and the seconds that each has spent by then; and the MACs that the dense run
had spent when its NE over as many rows first was as low as the other's last one. Where the stream
drifts, the rows differ in how hard they are from one time to another: then that last figure says
little, and may be reached on easier rows than those at the end.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compare_policies.logs import SEARCHED
from compare_policies.runs import Series
from compare_policies.study import Study

SLIDING = 0.05
"""Share of the stream's rows over which a sliding NE looks back."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Narrowing:
    """Means over seeds; dense training is 1 where a value is a share.

    Attributes:
        ne, dense_ne: over the last 5 % of the rows.
        macs, seconds: spent on the whole stream, as shares of dense's.
        dense_macs_there: spent by dense, as a share of all it spends, when its sliding NE first was
            down to ``ne``, after the warm-up of 20 %; None where for a seed it never was.
    """

    ne: float
    dense_ne: float
    macs: float
    seconds: float
    dense_macs_there: float | None


def narrowing(study: Study, policy: str = "amgp") -> Narrowing | None:
    """None without such runs."""
    if policy not in study.outcomes:
        return None
    ours, dense = (_series(study, name) for name in (policy, "dense"))
    ne, dense_ne = ([sliding_ne(run)[-1] for run in runs] for runs in (ours, dense))
    there = [_macs_at(run, target) for run, target in zip(dense, ne, strict=True)]
    return Narrowing(
        ne=statistics.fmean(ne),
        dense_ne=statistics.fmean(dense_ne),
        macs=_total(ours) / _total(dense),
        seconds=sum(run.seconds[-1] for run in ours) / sum(run.seconds[-1] for run in dense),
        dense_macs_there=None if None in there else statistics.fmean(x for x in there if x),
    )


def sliding_ne(run: Series) -> Floats:
    """NE [windows] of the last 5 % of all rows at the end of each window, fewer at the start."""
    ends = np.cumsum(run.labelled)
    first = np.searchsorted(ends, ends - SLIDING * ends[-1], side="right")
    rows, positives, loss = (
        _since(values, first) for values in (run.labelled, run.positives, run.loss)
    )
    rate = np.clip(positives / rows, 1e-6, 1 - 1e-6)
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    return np.asarray(loss / rows / entropy)


def _since(values: npt.NDArray[np.generic], first: npt.NDArray[np.int64]) -> Floats:
    """Sums of each window and those before it, from its own first one on."""
    sums = np.concatenate([[0.0], np.cumsum(values.astype(np.float64))])
    return np.asarray(sums[1:] - sums[first])


def _macs_at(run: Series, ne: float) -> float | None:
    ends = np.cumsum(run.labelled)
    reached = np.flatnonzero((sliding_ne(run) <= ne) & (ends >= SEARCHED * ends[-1]))
    spent = np.cumsum(run.macs_training * run.labelled)
    return float(spent[reached[0]] / spent[-1]) if reached.size else None


def _total(runs: list[Series]) -> float:
    return float(sum((run.macs_training * run.labelled).sum() for run in runs))


def _series(study: Study, policy: str) -> list[Series]:
    found = [outcome.series for outcome in study.outcomes[policy]]
    return [series for series in found if series is not None]
