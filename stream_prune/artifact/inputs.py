"""Encoded features of some rows: what a scorer takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """Encoded features of B rows of N dense and F categorical columns.

    Attributes:
        dense: float32 [B, N].
        ids: [n], one column's after another's, each in the order of the rows.
        offsets: per column [B + 1] where each row's ids begin among the column's own; None: one id
            a row. None for all of it: every column has one id a row.
    """

    dense: npt.NDArray[np.float32]
    ids: Ints
    offsets: tuple[Ints | None, ...] | None = None

    @classmethod
    def of(
        cls,
        dense: npt.NDArray[np.float32],
        ids: Sequence[Ints],
        offsets: Sequence[Ints | None],
    ) -> Inputs:
        """From each column's ids and offsets."""
        single = all(bounds is None for bounds in offsets)
        return cls(dense, np.concatenate(ids), None if single else tuple(offsets))

    @property
    def rows(self) -> int:
        return len(self.dense)

    @property
    def bounds(self) -> tuple[Ints | None, ...]:
        """The offsets of each column."""
        return self.offsets or (None,) * (len(self.ids) // self.rows)

    @property
    def lengths(self) -> Ints:
        """How many ids each column has."""
        return np.array([self.rows if own is None else own[-1] for own in self.bounds], np.int64)

    @property
    def columns(self) -> list[Ints]:
        """The ids of each column."""
        return np.split(self.ids, np.cumsum(self.lengths)[:-1])
