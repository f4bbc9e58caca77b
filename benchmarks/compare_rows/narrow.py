"""Narrow rows and more of them beside wide ones, at the same bytes of an artifact."""

from __future__ import annotations

from dataclasses import dataclass

from compare_rows.contenders import DIM, WHOLE, Contender
from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.config import HALF_LIVES
from stream_prune.embedding.widths import TablesOfWidths

ID_BYTES, NUMBER_BYTES = 8, 4
SHARE = 0.25
"""Rows of full width; of narrow ones as many more as take the same bytes."""


@dataclass(frozen=True)
class Narrow(Contender):
    """Rows that follow the stream, of one width in all columns that are cut.

    Attributes:
        width: of these columns; a projection brings it to ``DIM``, as it does for nobody else.
    """

    width: int = DIM

    @property
    def share(self) -> float:
        """Share of the rows that takes the bytes of ``SHARE`` of full ones, an id with each."""
        return SHARE * (NUMBER_BYTES * DIM + ID_BYTES) / (NUMBER_BYTES * self.width + ID_BYTES)

    def tables(
        self, columns: list[str], distinct: tuple[int, ...], share: float, lr: float, seed: int
    ) -> EmbeddingTables | TablesOfWidths:
        full = super().tables(columns, distinct, share, lr, seed)
        if self.width == DIM:
            return full
        large = [name for name, ids in zip(columns, distinct, strict=True) if ids > WHOLE]
        dims = dict.fromkeys(large, self.width)
        return TablesOfWidths(full.configs, DIM, dims, lr=lr, seed=seed)


_FOLLOWS = TableConfig("", 0, half_lives=HALF_LIVES, admission=1)
WIDTHS = tuple(
    Narrow(f"width {width}", _FOLLOWS, starts_full=True, width=width) for width in (16, 8, 4)
)
