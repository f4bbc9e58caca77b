"""The clicks that everybody learns, with ids in tables of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

BATCH = 2048
DENSE, FIELDS, DIM = 13, 26, 16
BOTTOM, TOP = (512, 256, 64), (512, 256)
NARROW_BOTTOM, NARROW_TOP = (104, 56, 16), (104, 56)
"""A fifth of every width."""

TEST_ROWS = 16 * BATCH
SEED = 7


@dataclass(frozen=True)
class Clicks:
    """Rows to learn and, after them, rows to be tested on.

    Attributes:
        sizes: rows of each table [F].
        dense: [n, N].
        ids: [n, F], below ``sizes``.
        label: [n], 0 or 1.
    """

    sizes: tuple[int, ...]
    dense: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]
    label: npt.NDArray[np.float32]

    @property
    def batches(self) -> int:
        """Mini-batches to learn."""
        return (len(self.label) - TEST_ROWS) // BATCH

    def save(self, folder: Path) -> Path:
        """As arrays that the peers map into memory."""
        for name in ("dense", "ids", "label"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        np.save(folder / "sizes.npy", np.array(self.sizes))
        return folder


def table_sizes(rows: int) -> tuple[int, ...]:
    """Rows of 26 tables, each 1.4 times the one before, in all about ``rows``."""
    shares = np.geomspace(1, 10_000, FIELDS)
    return tuple(np.maximum(4, rows * shares / shares.sum()).astype(int).tolist())


def clicks(rows: int, batches: int) -> Clicks:
    """A log with a fourth of clicks: an id falls off with its rank, ids and numbers decide.

    Args:
        rows: of all tables.
        batches: mini-batches to learn.
    """
    rng = np.random.default_rng(SEED)
    sizes, count = table_sizes(rows), batches * BATCH + TEST_ROWS
    dense = rng.normal(size=(count, DENSE)).astype(np.float32)
    ids = np.stack([rng.zipf(1.2, count) % size for size in sizes], 1).astype(np.int64)
    odds = dense @ rng.normal(0, 0.2, DENSE) - 1.4
    odds += 0.5 * np.tanh(dense @ rng.normal(0, 0.5, (DENSE, 4))).sum(1)
    for field, size in enumerate(sizes):
        odds += rng.normal(0, 0.3, size)[ids[:, field]]
    label = (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    return Clicks(sizes, dense, ids, label)


def logloss(label: npt.NDArray[np.float32], probability: npt.NDArray[np.float32]) -> float:
    """Mean, in nats."""
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(label > 0.5, np.log(p), np.log1p(-p))))
