"""Exact figures over the last so many rows of the stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.evaluation.auc import auc
from stream_prune.evaluation.calibration import ece
from stream_prune.evaluation.entropy import relative_cross_entropy
from stream_prune.evaluation.sums import Sums
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]


class Sliding:
    """The last ``size`` labelled rows, in a ring."""

    def __init__(self, size: int) -> None:
        self._rows = 0
        self._labels = np.zeros(size, np.float32)
        self._scores = np.zeros(size, np.float32)

    def add(self, labels: Floats, scores: Floats) -> None:
        """Take in rows; row number r of the stream has place r modulo the ring's size."""
        size = len(self._scores)
        self._rows += len(labels)
        kept = min(len(labels), size)
        places = np.arange(self._rows - kept, self._rows) % size
        self._labels[places] = labels[len(labels) - kept :]
        self._scores[places] = scores[len(scores) - kept :]

    def auc(self) -> float | None:
        labels, scores = self._inside()
        return auc(labels, scores) if len(labels) else None

    def figures(self) -> dict[str, float | None]:
        """All figures of the rows inside; NE is over the entropy of their own base rate."""
        labels, scores = self._inside()
        sums = Sums.of(labels, scores)
        return {
            "sliding_ne": sums.ne,
            "sliding_logloss": sums.logloss,
            "sliding_auc": self.auc(),
            "sliding_calibration": sums.calibration,
            "sliding_ece": ece(labels, scores),
            "sliding_rce": relative_cross_entropy(sums.ne),
        }

    def _inside(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        n = min(self._rows, len(self._scores))
        return self._labels[:n], self._scores[:n]

    def state_dict(self) -> State:
        return {
            "rows": self._rows,
            "labels": torch.from_numpy(self._labels.copy()),
            "scores": torch.from_numpy(self._scores.copy()),
        }

    def load_state_dict(self, state: State) -> None:
        rows, labels, scores = state["rows"], state["labels"], state["scores"]
        assert isinstance(rows, int)
        assert isinstance(labels, torch.Tensor)
        assert isinstance(scores, torch.Tensor)
        self._rows = rows
        self._labels, self._scores = labels.cpu().numpy().copy(), scores.cpu().numpy().copy()
