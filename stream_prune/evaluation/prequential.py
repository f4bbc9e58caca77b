"""Prequential (test-then-train) evaluation: rows are judged by scores given before learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stream_prune.errors import ConfigError
from stream_prune.evaluation.auc import StreamAuc, auc
from stream_prune.evaluation.calibration import ece
from stream_prune.evaluation.entropy import normalized_entropy, relative_cross_entropy
from stream_prune.evaluation.sliding import Sliding
from stream_prune.evaluation.sums import Sums
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]
Record = dict[str, Any]

AT_INTERVALS = (
    *(f"sliding_{name}" for name in ("ne", "logloss", "auc", "calibration", "ece", "rce")),
    "auc_cumulative",
    "ece_cumulative",
)
"""Figures that look at many rows, which is why they come at every so many windows only."""


class Prequential:
    """Judges window after window, with running totals.

    Arguments:
        sliding_rows: examples in the sliding window of the exact figures.
        sliding_every: the figures named :data:`AT_INTERVALS` are computed at every so many windows
            with labels (they sort ``sliding_rows`` scores).
        from_rows: evaluated rows that count as warm-up; figures named ``after_warmup`` leave them
            out.
    """

    def __init__(
        self, sliding_rows: int = 50_000, sliding_every: int = 20, from_rows: int = 0
    ) -> None:
        for name, value, least in (
            ("sliding_rows", sliding_rows, 2),
            ("sliding_every", sliding_every, 1),
            ("from_rows", from_rows, 0),
        ):
            if value < least:
                raise ConfigError(f"{name} = {value}: must be {least} or more")
        self.from_rows = from_rows
        self._every = sliding_every
        self._windows = 0
        self._rows = 0
        self._all = Sums()
        self._late = Sums()
        self._early_auc = StreamAuc()
        self._late_auc = StreamAuc()
        self._sliding = Sliding(sliding_rows)

    @property
    def evaluated(self) -> int:
        """Labelled rows so far."""
        return self._all.rows

    def add(self, labels: Floats, scores: Floats) -> Record:
        """Judge a window and return its record.

        Arguments: ``labels`` [B] of 0, 1 and NaN (unlabelled: counted, not judged); ``scores`` [B],
        the probabilities given before any of these rows was learned.

        The record: rows, labelled, positives, and logloss, ne, rce, auc (exact), calibration, ece
        of this window; the same of all rows so far, named ``cumulative``; those of
        :data:`AT_INTERVALS` are None but every ``sliding_every`` windows. ``ne`` divides this
        window's logloss by the entropy of the running base rate, this window included.

        Raises:
            ValueError: labels and scores differ in length, or a score is no probability.
        """
        if labels.shape != scores.shape:
            raise ValueError(f"{labels.shape} labels for {scores.shape} scores")
        if not np.all((scores >= 0) & (scores <= 1)):
            raise ValueError("scores must be probabilities in [0, 1]")
        labelled = ~np.isnan(labels)
        self._rows += len(labels)
        y, p = labels[labelled], scores[labelled]
        window = Sums.of(y, p)
        warmup = max(0, self.from_rows - self._all.rows)
        self._all.add(window)
        self._late.add(Sums.of(y[warmup:], p[warmup:]) if warmup else window)
        self._early_auc.add(y[:warmup], p[:warmup])
        self._late_auc.add(y[warmup:], p[warmup:])
        self._windows += len(y) > 0
        self._sliding.add(y, p)
        due = window.rows > 0 and self._windows % self._every == 0
        logloss, ne = window.logloss, None
        if logloss is not None:
            ne = normalized_entropy(logloss, self._all.positives, self._all.rows)
        return {
            "rows": len(labels),
            "labelled": window.rows,
            "positives": window.positives,
            "logloss": logloss,
            "ne": ne,
            "rce": relative_cross_entropy(ne),
            "auc": auc(y, p) if window.rows else None,
            "calibration": window.calibration,
            "ece": ece(y, p),
            "ne_cumulative": self._all.ne,
            "logloss_cumulative": self._all.logloss,
            "rce_cumulative": relative_cross_entropy(self._all.ne),
            "calibration_cumulative": self._all.calibration,
            **(self._at_intervals() if due else dict.fromkeys(AT_INTERVALS)),
        }

    def _at_intervals(self) -> Record:
        whole = self._early_auc + self._late_auc
        cumulative = {"auc_cumulative": whole.value, "ece_cumulative": whole.reliability().ece}
        return {**self._sliding.figures(), **cumulative}

    def sliding_auc(self) -> float | None:
        """Exact AUC of the last ``sliding_rows`` labelled rows."""
        return self._sliding.auc()

    def summary(self) -> Record:
        """Figures over the whole stream and after the warm-up.

        ``auc`` and ``auc_after_warmup`` come from :class:`StreamAuc`: the exact values are within
        ``auc_error`` and ``auc_after_warmup_error`` of them.
        """
        whole = self._early_auc + self._late_auc
        return {
            "rows": self._rows,
            "labelled": self._all.rows,
            "positives": self._all.positives,
            **_figures(self._all, whole, ""),
            "sliding_auc": self.sliding_auc(),
            "reliability": {k: v.tolist() for k, v in whole.reliability()._asdict().items()},
            "warmup_rows": self.from_rows,
            **_figures(self._late, self._late_auc, "_after_warmup"),
        }

    def state_dict(self) -> State:
        state: State = {"windows": self._windows, "rows": self._rows}
        for name, sums in (("all", self._all), ("late", self._late)):
            state |= {f"{name}.{field}": value for field, value in vars(sums).items()}
        for name, part in self._parts().items():
            state |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        return state

    def load_state_dict(self, state: State) -> None:
        self._windows = _int(state["windows"])
        self._rows = _int(state["rows"])
        for name, sums in (("all", self._all), ("late", self._late)):
            for field in vars(sums):
                setattr(sums, field, state[f"{name}.{field}"])
        for name, part in self._parts().items():
            start = f"{name}."
            part.load_state_dict(
                {key.removeprefix(start): v for key, v in state.items() if key.startswith(start)}
            )

    def _parts(self) -> dict[str, StreamAuc | Sliding]:
        early, late = self._early_auc, self._late_auc
        return {"early_auc": early, "late_auc": late, "sliding": self._sliding}


def _figures(sums: Sums, stream_auc: StreamAuc, suffix: str) -> Record:
    return {
        f"logloss{suffix}": sums.logloss,
        f"ne{suffix}": sums.ne,
        f"rce{suffix}": relative_cross_entropy(sums.ne),
        f"auc{suffix}": stream_auc.value,
        f"auc{suffix}_error": stream_auc.error,
        f"calibration{suffix}": sums.calibration,
        f"ece{suffix}": stream_auc.reliability().ece,
    }


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
