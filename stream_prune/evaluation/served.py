"""Figures of the scores that were really served, beside those of the model in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stream_prune.evaluation.prequential import Prequential
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]

FIGURES = (
    *("labelled", "positives", "logloss", "ne", "auc", "calibration"),
    *("ne_cumulative", "auc_cumulative", "sliding_auc"),
)
"""What a window's record says of them, as in :meth:`Prequential.add`."""


class Served:
    """Judges logged serving scores on the rows that have one, whatever model gave it.

    A row is judged when its label is known, as the trainer's own score for it is: so both are
    figures of the same events at the same event times.

    Arguments: those of :class:`Prequential`.
    """

    def __init__(
        self, sliding_rows: int = 50_000, sliding_every: int = 20, from_rows: int = 0
    ) -> None:
        self._prequential = Prequential(sliding_rows, sliding_every, from_rows)

    def add(self, labels: Floats, scores: Floats) -> dict[str, Any]:
        """Judge a window: ``labels`` [B] of 0, 1 and NaN, ``scores`` [B], NaN where none was given.

        Raises:
            ValueError: they differ in length, or a score is no probability.
        """
        if labels.shape != scores.shape:
            raise ValueError(f"{labels.shape} labels for {scores.shape} served scores")
        given = ~np.isnan(scores)
        record = self._prequential.add(labels[given], scores[given])
        return {name: record[name] for name in FIGURES}

    def summary(self) -> dict[str, Any]:
        """Figures over the whole stream, as in :meth:`Prequential.summary`."""
        summary = self._prequential.summary()
        return {
            name: value
            for name, value in summary.items()
            if name not in ("reliability", "warmup_rows")
        }

    def state_dict(self) -> State:
        return self._prequential.state_dict()

    def load_state_dict(self, state: State) -> None:
        self._prequential.load_state_dict(state)
