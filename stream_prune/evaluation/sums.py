"""What NE, logloss and calibration need to know of a stretch of the stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_prune.evaluation.calibration import calibration
from stream_prune.evaluation.entropy import losses, normalized_entropy

Floats = npt.NDArray[np.floating]


@dataclass
class Sums:
    """Counts and sums over labelled rows; they add up."""

    rows: int = 0
    positives: int = 0
    loss: float = 0.0
    expected: float = 0.0

    @classmethod
    def of(cls, labels: Floats, scores: Floats) -> Sums:
        """The sums of labels [B] and probabilities [B]."""
        return cls(
            len(labels),
            int((labels > 0.5).sum()),
            float(losses(labels, scores).sum()),
            float(scores.sum(dtype=np.float64)),
        )

    def add(self, other: Sums) -> None:
        self.rows += other.rows
        self.positives += other.positives
        self.loss += other.loss
        self.expected += other.expected

    @property
    def logloss(self) -> float | None:
        return self.loss / self.rows if self.rows else None

    @property
    def ne(self) -> float | None:
        if not self.rows:
            return None
        return normalized_entropy(self.loss / self.rows, self.positives, self.rows)

    @property
    def calibration(self) -> float | None:
        return calibration(self.expected, self.positives)
