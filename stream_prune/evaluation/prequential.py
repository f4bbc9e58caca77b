"""Prequential (test-then-train) evaluation: rows are judged by scores given before learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import ConfigError
from stream_prune.evaluation.auc import StreamAuc, auc
from stream_prune.evaluation.calibration import calibration
from stream_prune.evaluation.entropy import losses, normalized_entropy
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]
Record = dict[str, float | int | None]


@dataclass
class Sums:
    """What NE and calibration need to know of a stretch of the stream."""

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


class Prequential:
    """Judges window after window, with running totals.

    Arguments:
        sliding_rows: examples in the sliding window of the exact AUC.
        sliding_every: the sliding AUC is computed at every so many windows with labels (it sorts
            ``sliding_rows`` scores), and by :meth:`summary`.
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
        self._ring_labels = np.zeros(sliding_rows, np.float32)
        self._ring_scores = np.zeros(sliding_rows, np.float32)

    @property
    def evaluated(self) -> int:
        """Labelled rows so far."""
        return self._all.rows

    def add(self, labels: Floats, scores: Floats) -> Record:
        """Judge a window and return its record.

        Arguments: ``labels`` [B] of 0, 1 and NaN (unlabelled: counted, not judged); ``scores`` [B],
        the probabilities given before any of these rows was learned.

        The record: rows, labelled, positives, logloss, ne, auc (exact), calibration of this window;
        ne_cumulative, and sliding_auc (None but every ``sliding_every`` windows). ``ne`` divides
        this window's logloss by the entropy of the running base rate, this window included.

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
        self._slide(y, p)
        due = window.rows > 0 and self._windows % self._every == 0
        logloss = window.logloss
        return {
            "rows": len(labels),
            "labelled": window.rows,
            "positives": window.positives,
            "logloss": logloss,
            "ne": None
            if logloss is None
            else normalized_entropy(logloss, self._all.positives, self._all.rows),
            "auc": auc(y, p) if window.rows else None,
            "calibration": window.calibration,
            "ne_cumulative": self._all.ne,
            "sliding_auc": self.sliding_auc() if due else None,
        }

    def sliding_auc(self) -> float | None:
        """Exact AUC of the last ``sliding_rows`` labelled rows."""
        n = min(self._all.rows, len(self._ring_scores))
        return auc(self._ring_labels[:n], self._ring_scores[:n]) if n else None

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
            "logloss": self._all.logloss,
            "ne": self._all.ne,
            "auc": whole.value,
            "auc_error": whole.error,
            "calibration": self._all.calibration,
            "sliding_auc": self.sliding_auc(),
            "warmup_rows": self.from_rows,
            "logloss_after_warmup": self._late.logloss,
            "ne_after_warmup": self._late.ne,
            "auc_after_warmup": self._late_auc.value,
            "auc_after_warmup_error": self._late_auc.error,
            "calibration_after_warmup": self._late.calibration,
        }

    def _slide(self, labels: Floats, scores: Floats) -> None:
        """Put rows into the ring; row number r of the stream has place r modulo the ring's size."""
        self._windows += len(labels) > 0
        size = len(self._ring_scores)
        kept = min(len(labels), size)
        places = np.arange(self._all.rows - kept, self._all.rows) % size
        self._ring_labels[places] = labels[len(labels) - kept :]
        self._ring_scores[places] = scores[len(scores) - kept :]

    def state_dict(self) -> State:
        state: State = {
            "windows": self._windows,
            "rows": self._rows,
            "ring_labels": torch.from_numpy(self._ring_labels.copy()),
            "ring_scores": torch.from_numpy(self._ring_scores.copy()),
        }
        for name, sums in (("all", self._all), ("late", self._late)):
            state |= {f"{name}.{field}": value for field, value in vars(sums).items()}
        for name, stream_auc in (("early_auc", self._early_auc), ("late_auc", self._late_auc)):
            state |= {f"{name}.{key}": value for key, value in stream_auc.state_dict().items()}
        return state

    def load_state_dict(self, state: State) -> None:
        self._windows = _int(state["windows"])
        self._rows = _int(state["rows"])
        self._ring_labels = _array(state["ring_labels"])
        self._ring_scores = _array(state["ring_scores"])
        for name, sums in (("all", self._all), ("late", self._late)):
            for field in vars(sums):
                setattr(sums, field, state[f"{name}.{field}"])
        for name, stream_auc in (("early_auc", self._early_auc), ("late_auc", self._late_auc)):
            stream_auc.load_state_dict({"counts": state[f"{name}.counts"]})


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _array(value: object) -> npt.NDArray[np.float32]:
    assert isinstance(value, torch.Tensor)
    return value.cpu().numpy().copy()
