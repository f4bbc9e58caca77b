"""Ways to hold the rows of a column in fewer rows than it has ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.config import HALF_LIVES
from stream_prune.embedding.widths import TablesOfWidths
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.rows import allotted

DIM = 16
WHOLE = 256
"""Columns with no more ids than this have all their rows in every contender."""

FULL = "full"


@dataclass(frozen=True)
class Contender:
    """A way to hold rows.

    Attributes:
        name: in tables.
        table: settings of every table; capacity and name are filled in.
        starts_full: every id may own a row until the warm-up is over, then the tables are cut.
        hashes: rows that an id's vector is the sum of, where it owns none.
        split: the tables share one total of rows by their coverage curves; else each has its share.
    """

    name: str
    table: TableConfig
    starts_full: bool = False
    hashes: int = 1
    split: bool = False

    def tables(
        self, columns: list[str], distinct: tuple[int, ...], share: float, lr: float, seed: int
    ) -> EmbeddingTables | TablesOfWidths:
        """The tables as they begin."""
        sizes = distinct if self.starts_full else self.capacities(distinct, share)
        configs = [
            replace(self.table, name=name, capacity=size)
            if size < ids or (self.starts_full and ids > WHOLE)
            else TableConfig(name, size, admission=1)
            for name, size, ids in zip(columns, sizes, distinct, strict=True)
        ]
        return EmbeddingTables(configs, DIM, lr=lr, seed=seed)

    def capacities(self, distinct: tuple[int, ...], share: float) -> tuple[int, ...]:
        """The tables' rows [F] once they are cut."""
        return tuple(ids if ids <= WHOLE else int(share * ids) for ids in distinct)

    def cut(
        self,
        tables: EmbeddingTables | TablesOfWidths,
        columns: list[str],
        distinct: tuple[int, ...],
        share: float,
    ) -> None:
        """Bring tables to their share of the rows, or to a better split of the same total."""
        kept = dict(zip(columns, self.capacities(distinct, share), strict=True))
        if self.split:
            full = dict(zip(columns, distinct, strict=True))
            now = {name: table.capacity for name, table in tables.tables.items()}
            budget = Budget(1.0, rows=share, whole_tables_below=WHOLE, split="coverage")
            kept = allotted(tables.tables, full, now, budget)
            kept = {name: rows for name, rows in kept.items() if rows != now[name]}
        if kept:
            tables.resize(kept)

    def batch(self, batch: MiniBatch, distinct: tuple[int, ...], share: float) -> MiniBatch:
        """The batch with the ids that its tables are to be asked for."""
        if self.hashes == 1:
            return batch
        bounds = batch.offsets
        if bounds is None:
            bounds = np.arange(len(distinct) * batch.rows + 1)
        ids, lengths = [], []
        kept = self.capacities(distinct, share)
        for field, (size, total) in enumerate(zip(kept, distinct, strict=True)):
            bags = bounds[field * batch.rows : (field + 1) * batch.rows + 1]
            column, each = batch.ids[bags[0] : bags[-1]], np.diff(bags)
            several = [column] if size == total else _hashes(column, self.hashes)
            ids.append(np.stack(several, 1).reshape(-1))
            lengths.append(len(several) * each)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        return replace(batch, ids=np.concatenate(ids), offsets=offsets)


def _hashes(ids: np.ndarray, count: int) -> list[np.ndarray]:
    """The ids under independent hashes (splitmix64, by number)."""
    found = []
    for number in range(count):
        z = ids.astype(np.uint64) + np.uint64((number + 1) * 0x9E3779B97F4A7C15 % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found.append(((z ^ (z >> np.uint64(31))) >> np.uint64(1)).astype(np.int64))
    return found


_FOLLOWS = TableConfig("", 0, half_lives=HALF_LIVES, admission=1)
_HASHED = TableConfig("", 0, cold_share=1.0)
CONTENDERS = (
    Contender(FULL, TableConfig("", 0, admission=1), starts_full=True),
    Contender("fixed", TableConfig("", 0, follow=False, admission=1), starts_full=True),
    Contender("modulo hashing", _HASHED),
    Contender("compositional", replace(_HASHED, combine="sum"), hashes=2),
    Contender("adaptive", _FOLLOWS, starts_full=True, split=True),
    Contender("adaptive, proportional", _FOLLOWS, starts_full=True),
)
OPTIONS = (
    *(
        Contender(
            f"half-life {h:.0f}", TableConfig("", 0, half_life=h, admission=1), starts_full=True
        )
        for h in HALF_LIVES
    ),
    Contender("adaptive, waiting", replace(_FOLLOWS, waiting=0.5), starts_full=True),
    Contender("adaptive, 20 % cold", replace(_FOLLOWS, cold_share=0.2), starts_full=True),
    Contender("adaptive, from the start", _FOLLOWS),
)
