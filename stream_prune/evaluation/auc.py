"""Area under the ROC curve: exact, and as a bounded approximation over an endless stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import ConfigError
from stream_prune.evaluation.calibration import BINS, Reliability
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]


def auc(labels: Floats, scores: Floats) -> float | None:
    """The share of (positive, negative) pairs that the scores put in order; a tie counts one half.

    Arguments: ``labels`` [B] of 0 and 1, ``scores`` [B] finite. None where a class is absent.
    Exact: pairs are counted in integers (up to 2^31 rows). Source: Fawcett, An introduction to ROC
    analysis, 2006, section 7.

    >>> auc(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    order = np.argsort(scores)
    ordered = scores[order]
    positive = (labels[order] > 0.5).astype(np.int64)
    last_of_tie = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    positives = np.diff(np.cumsum(positive)[last_of_tie], prepend=0)
    negatives = np.diff(np.cumsum(1 - positive)[last_of_tie], prepend=0)
    return _area(positives, negatives)


def _area(positives: npt.NDArray[np.int64], negatives: npt.NDArray[np.int64]) -> float | None:
    """AUC of counts per distinct score, in ascending order of the score."""
    pairs = int(positives.sum()) * int(negatives.sum())
    if pairs == 0:
        return None
    below = np.cumsum(negatives) - negatives
    return int((positives * (2 * below + negatives)).sum()) / (2 * pairs)


class StreamAuc:
    """AUC over all rows ever added, in constant memory: counts in equal bins of the logit.

    Pairs that share a bin count one half, so the exact AUC is within :attr:`error` of
    :attr:`value`; that bound is computed from the counts, not estimated. With the 2^16 bins over
    logits of -16 to 16 a bin is 0.0005 wide.
    """

    LIMIT = 16.0

    def __init__(self, bins: int = 2**16) -> None:
        if bins < 2:
            raise ConfigError(f"bins = {bins}: must be 2 or more")
        self._counts = np.zeros((2, bins), np.int64)

    def add(self, labels: Floats, scores: Floats) -> None:
        """Count rows: ``labels`` [B] of 0 and 1, ``scores`` [B] probabilities."""
        p = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
        bins = self._counts.shape[1]
        place = (np.log(p / (1 - p)) / self.LIMIT + 1) * (bins / 2)
        index = np.clip(place, 0, bins - 1).astype(np.int64)
        for label in (0, 1):
            places, rows = np.unique(index[(labels > 0.5) == bool(label)], return_counts=True)
            self._counts[label, places] += rows

    def __add__(self, other: StreamAuc) -> StreamAuc:
        """The rows of both, which must have equal bins."""
        both = StreamAuc(self._counts.shape[1])
        both._counts = self._counts + other._counts
        return both

    @property
    def value(self) -> float | None:
        """The AUC, None where a class is absent."""
        return _area(self._counts[1], self._counts[0])

    @property
    def error(self) -> float:
        """The exact AUC is at most this far from :attr:`value`."""
        negatives, positives = self._counts
        pairs = int(positives.sum()) * int(negatives.sum())
        return int((positives * negatives).sum()) / (2 * pairs) if pairs else 0.0

    def reliability(self, bins: int = BINS) -> Reliability:
        """The rows in groups of rising scores, as :func:`~.calibration.reliability` has them.

        Every row counts with the score in the middle of its bin, at most .00007 from its own.
        """
        size = self._counts.shape[1]
        rows = self._counts.sum(0)
        ends = np.cumsum(rows)
        total = int(ends[-1])
        wanted = np.linspace(0, total, bins + 1)[:-1]
        if not total:
            return Reliability(rows[:0], np.empty(0), np.empty(0))
        starts = np.unique(np.searchsorted(ends, wanted, side="right"))
        middle = 1 / (1 + np.exp(-((np.arange(size) + 0.5) * 2 / size - 1) * self.LIMIT))
        inside, score, positive = (
            np.add.reduceat(values, starts) for values in (rows, rows * middle, self._counts[1])
        )
        return Reliability(inside, score / inside, positive / inside)

    def state_dict(self) -> State:
        return {"counts": torch.from_numpy(self._counts.copy())}

    def load_state_dict(self, state: State) -> None:
        counts = state["counts"]
        assert isinstance(counts, torch.Tensor)
        self._counts = counts.cpu().numpy().copy()
