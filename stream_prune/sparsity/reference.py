"""The standing reference: would a model trained beside the live one do as well?"""

from __future__ import annotations

import math
from typing import Any

from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.paired import Comparison, Floats, PairedBlocks, block_rows, logloss
from stream_prune.stateful import State

RECENT_WINDOWS = 4
SIGNIFICANCE = 3.0
MARGIN = 0.002
_UNKNOWN = "whether a small dense model would do as well is not known"


class StandingReference:
    """Compares the live model with a reference on the same labelled rows, since the start.

    The reference is whatever the user trains beside it: a dense shadow, or a small dense model of
    the budget's size. Both are judged prequentially, by scores given before the rows were learned,
    paired row by row and added up in blocks, whose spread tells what chance would do.

    Args:
        window_rows: examples per window of the policy.

    The live model counts as *worse* when its mean loss over the last four windows, all of them
    since it was last resized, is above the reference's by more than .2 % and by more than three
    standard errors. It counts as *better* when its loss since the start is below by more than
    three. Source: the paired (blocked) t-test; thresholds are this project's own.
    """

    def __init__(self, window_rows: int) -> None:
        block = block_rows(window_rows)
        self._recent = PairedBlocks(block, keep=max(1, RECENT_WINDOWS * window_rows // block))
        self._whole = PairedBlocks(block)
        self._rows = 0
        self._positives = self._live = self._reference = 0.0

    def observe(self, labels: Floats, scores: Floats, reference: Floats) -> None:
        """Take in a batch: known labels, and both models' probabilities, each [B]."""
        live, other = logloss(labels, scores), logloss(labels, reference)
        self._recent.add(live, other)
        self._whole.add(live, other)
        self._rows += len(labels)
        self._positives += float((labels > 0.5).sum())
        self._live += float(live.sum())
        self._reference += float(other.sum())

    def resized(self) -> None:
        """The live model is another now: what was said lately is of no use."""
        self._recent.clear()

    @property
    def worse(self) -> bool:
        """The live model is significantly worse over the last windows."""
        return self._recent.ready and self._recent.compare().worse(SIGNIFICANCE, MARGIN)

    def summary(self) -> dict[str, Any]:
        """The verdict so far, as JSON values."""
        if not self._rows:
            return {"verdict": f"none was given: {_UNKNOWN}"}
        compared = self._whole.compare()
        reach = 1.96 * compared.error
        known = self._whole.ready
        return {
            "rows": self._rows,
            "logloss": self._live / self._rows,
            "logloss_reference": self._reference / self._rows,
            "ne": self._ne(self._live),
            "ne_reference": self._ne(self._reference),
            "difference": compared.difference if known else None,
            "interval": [compared.difference - d for d in (reach, -reach)] if known else None,
            "worse_lately": self.worse,
            "verdict": _in_words(compared) if known else f"too few rows so far: {_UNKNOWN}",
        }

    def _ne(self, loss: float) -> float | None:
        """Mean loss over the entropy of the base rate; None while only one label has been seen."""
        rate = self._positives / self._rows
        if not 0 < rate < 1:
            return None
        entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
        return loss / self._rows / entropy

    def state_dict(self) -> State:
        return {
            "rows": self._rows,
            "positives": self._positives,
            "live": self._live,
            "reference": self._reference,
            **nested("recent", self._recent.state_dict()),
            **nested("whole", self._whole.state_dict()),
        }

    def load_state_dict(self, state: State) -> None:
        values: dict[str, Any] = dict(state)
        self._rows, self._positives = int(values["rows"]), float(values["positives"])
        self._live, self._reference = float(values["live"]), float(values["reference"])
        self._recent.load_state_dict(part_of(state, "recent"))
        self._whole.load_state_dict(part_of(state, "whole"))


def _in_words(compared: Comparison) -> str:
    by = f"by {abs(compared.relative):.2%} of the reference's logloss"
    if compared.better(SIGNIFICANCE):
        return f"the live model is better {by}"
    if compared.worse(SIGNIFICANCE, MARGIN):
        return f"the reference would do better {by}"
    return "the reference would do as well: the live model is not significantly better"
