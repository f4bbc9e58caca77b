"""Two models on the same rows: their losses paired, in blocks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_prune.sparsity.watch import Values
from stream_prune.stateful import State

Floats = npt.NDArray[np.float64]

_EPSILON = 1e-7
BLOCK_ROWS = 512
LEAST_BLOCKS = 8
"""Fewer say nothing about their own spread."""


def block_rows(window_rows: int) -> int:
    """Rows per block: a window has at least eight of them where it can."""
    return max(1, min(BLOCK_ROWS, window_rows // LEAST_BLOCKS))


def as_floats(values: Values) -> Floats:
    """One number per example, as float64 on the host."""
    if isinstance(values, Tensor):
        values = values.detach().double().cpu().numpy()
    return np.asarray(values, dtype=np.float64).reshape(-1)


def logloss(labels: Floats, probabilities: Floats) -> Floats:
    """Per example the negative log-likelihood [B] of known labels (0 or 1), in nats.

    A probability that is not a number costs as much as a wrong one that was certain.
    """
    given = np.where(labels > 0.5, probabilities, 1 - probabilities)
    losses: Floats = -np.log(np.nan_to_num(given).clip(_EPSILON, 1 - _EPSILON))
    return losses


class Comparison(NamedTuple):
    """What the blocks say of the live model beside the other one.

    Attributes:
        rows: labelled examples compared, in whole blocks.
        live, other: mean logloss of each.
        error: standard error of the mean paired difference, from the spread of the blocks'
            differences; NaN with fewer than two blocks. Blocks count as independent, which those
            of a drifting stream are not quite: hence thresholds of three errors, not two.
    """

    rows: int
    live: float
    other: float
    error: float

    @property
    def difference(self) -> float:
        """Positive: the live model is worse."""
        return self.live - self.other

    @property
    def relative(self) -> float:
        """The difference as a share of the other model's loss."""
        return self.difference / max(self.other, _EPSILON)

    def worse(self, significance: float, margin: float) -> bool:
        """The live model is worse by more than so many standard errors, and than a share."""
        return self.difference > significance * self.error and self.relative > margin

    def better(self, significance: float) -> bool:
        """The live model is better by more than so many standard errors."""
        return -self.difference > significance * self.error


class PairedBlocks:
    """Cuts paired losses into blocks of equal size, and adds these up.

    Args:
        rows: labelled examples per block.
        keep: how many of the latest blocks to compare; None: all there have been, of which only
            the moments are kept.
    """

    def __init__(self, rows: int, keep: int | None = None) -> None:
        self._rows, self._keep = rows, keep
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._open = np.empty((0, 2))
        self._recent = np.empty((0, 2))
        self._count, self._means, self._squares = 0, np.zeros(2), 0.0

    @property
    def ready(self) -> bool:
        """There are enough blocks to tell a spread from."""
        return max(self._count, len(self._recent)) >= LEAST_BLOCKS

    def add(self, live: Floats, other: Floats) -> None:
        """Take in the losses [B] of both models on the same labelled examples."""
        pairs = np.concatenate([self._open, np.stack([live, other], axis=1)])
        whole = len(pairs) // self._rows
        cut = whole * self._rows
        blocks = pairs[:cut].reshape(whole, self._rows, 2).mean(axis=1)
        self._open = pairs[cut:].copy()
        if self._keep is not None:
            self._recent = np.concatenate([self._recent, blocks])[-self._keep :]
            return
        for block in blocks:
            self._count += 1
            before = self._means[0] - self._means[1]
            self._means = self._means + (block - self._means) / self._count
            step = block[0] - block[1]
            self._squares += (step - before) * (step - (self._means[0] - self._means[1]))

    def compare(self) -> Comparison:
        """What is known so far."""
        if self._keep is None:
            count, means, squares = self._count, self._means, self._squares
        else:
            count = len(self._recent)
            means = self._recent.mean(axis=0) if count else np.zeros(2)
            differences = self._recent[:, 0] - self._recent[:, 1]
            squares = float(((differences - differences.mean()) ** 2).sum()) if count else 0.0
        error = math.sqrt(squares / (count - 1) / count) if count > 1 else math.nan
        return Comparison(count * self._rows, float(means[0]), float(means[1]), error)

    def state_dict(self) -> State:
        return {
            "open": torch.from_numpy(self._open.copy()),
            "recent": torch.from_numpy(self._recent.copy()),
            "count": self._count,
            "means": torch.from_numpy(self._means.copy()),
            "squares": float(self._squares),
        }

    def load_state_dict(self, state: State) -> None:
        values: dict[str, Any] = dict(state)
        self._open, self._recent = values["open"].numpy().copy(), values["recent"].numpy().copy()
        self._count, self._squares = int(values["count"]), float(values["squares"])
        self._means = values["means"].numpy().copy()
