"""Prequential figures per slice: the rows that share a category."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.evaluation.auc import StreamAuc
from stream_prune.evaluation.entropy import relative_cross_entropy
from stream_prune.evaluation.sums import Sums
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int64]

MOST = 32
"""Slices of a column that are kept apart; rows of later categories are counted together."""
OTHER = "(other)"
BINS = 1 << 12
"""Of a slice's AUC: a bin is .008 of log-odds wide."""


class _Slice(NamedTuple):
    sums: Sums
    auc: StreamAuc


class SliceFigures:
    """NE, logloss, AUC, calibration and ECE of every slice of some columns, over all rows so far.

    Args:
        known: by column the ids that have a name. Without any, the first :data:`MOST` categories
            that come are told apart, named by their ids.
    """

    def __init__(self, known: dict[str, dict[int, str]]) -> None:
        self._known = known
        self._slices: dict[str, dict[int, _Slice]] = {
            column: {number: _empty() for number in names} for column, names in known.items()
        }
        self._others = {column: _empty() for column in known}

    def add(self, column: str, ids: Ids, labels: Floats, scores: Floats) -> None:
        """Take in rows: ids [B] of the column, labels [B] of 0, 1 and NaN, probabilities [B].

        A row with several categories is given once for each.
        """
        labelled = ~np.isnan(labels)
        ids, labels, scores = ids[labelled], labels[labelled], scores[labelled]
        slices = self._slices[column]
        rest = np.ones(len(ids), np.bool_)
        found, first = np.unique(ids, return_index=True)
        for number in found[np.argsort(first)].tolist():
            if number not in slices:
                if self._known[column] or len(slices) == MOST:
                    continue
                slices[number] = _empty()
            rows = ids == number
            rest &= ~rows
            _add(slices[number], labels[rows], scores[rows])
        _add(self._others[column], labels[rest], scores[rest])

    def figures(self) -> dict[str, dict[str, dict[str, float | int | None]]]:
        """By column and slice; a slice without a labelled row is left out."""
        told: dict[str, dict[str, dict[str, float | int | None]]] = {}
        for column, slices in self._slices.items():
            names = self._known[column]
            named = {names.get(number, f"id {number}"): each for number, each in slices.items()}
            named[OTHER] = self._others[column]
            told[column] = {n: _figures(each) for n, each in named.items() if each.sums.rows}
        return told

    def state_dict(self) -> State:
        state: State = {}
        for column, slices in self._slices.items():
            every = [*slices.values(), self._others[column]]
            state[f"{column}/ids"] = torch.tensor(list(slices), dtype=torch.int64)
            state[f"{column}/sums"] = torch.tensor(
                [list(vars(each.sums).values()) for each in every], dtype=torch.float64
            )
            counts = [each.auc.state_dict()["counts"] for each in every]
            state[f"{column}/counts"] = torch.stack([_tensor(each) for each in counts])
        return state

    def load_state_dict(self, state: State) -> None:
        for column in self._slices:
            ids, sums, counts = (
                _tensor(state[f"{column}/{name}"]) for name in ("ids", "sums", "counts")
            )
            every = [_empty() for _ in sums]
            for each, values, count in zip(every, sums.tolist(), counts, strict=True):
                rows, positives, loss, expected = values
                each.sums.add(Sums(int(rows), int(positives), loss, expected))
                each.auc.load_state_dict({"counts": count})
            *slices, self._others[column] = every
            self._slices[column] = dict(zip(ids.tolist(), slices, strict=True))


def _empty() -> _Slice:
    return _Slice(Sums(), StreamAuc(BINS))


def _add(each: _Slice, labels: Floats, scores: Floats) -> None:
    if len(labels):
        each.sums.add(Sums.of(labels, scores))
        each.auc.add(labels, scores)


def _figures(each: _Slice) -> dict[str, float | int | None]:
    sums = each.sums
    return {
        "labelled": sums.rows,
        "positives": sums.positives,
        "logloss": sums.logloss,
        "ne": sums.ne,
        "rce": relative_cross_entropy(sums.ne),
        "auc": each.auc.value,
        "calibration": sums.calibration,
        "ece": each.auc.reliability().ece,
    }


def _tensor(value: object) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value
