"""From feature-major look-ups to the batch-major order in which a model reads them."""

from typing import NamedTuple

import numpy as np

from stream_prune.embedding.compiled import compiled
from stream_prune.embedding.id_map import I64


class Found(NamedTuple):
    """Where the ids of a batch are, as :meth:`EmbeddingTables.admit` tells.

    Attributes:
        rows: int64 [n], their flat rows, in the order of the ids (feature-major).
        offsets: int64 [F * B + 1], the bags' bounds, if any feature is multi-valued.
        layout: the assignment of rows that this holds for.
    """

    rows: I64
    offsets: I64 | None
    layout: int


def check(ids: I64, offsets: I64 | None, tables: int) -> tuple[I64, int]:
    """The spans [F + 1] of the tables in ``ids``, and the batch size B.

    ``ids`` are feature-major: [F * B], or with ``offsets`` [F * B + 1] the concatenated bags.

    Raises:
        TypeError: ids or offsets that are not int64.
        ValueError: lengths that don't fit the number of tables, or offsets that don't rise from 0
            to the number of ids.
    """
    for name, array in (("ids", ids), ("offsets", offsets)):
        if array is not None and array.dtype != np.int64:
            raise TypeError(f"{name}: {array.dtype}: must be int64")
    bags = ids.size if offsets is None else offsets.size - 1
    if bags < 0 or bags % tables:
        what = "ids" if offsets is None else "bags"
        raise ValueError(f"{bags} {what} don't divide into {tables} tables")
    batch = bags // tables
    if offsets is None:
        return np.arange(tables + 1) * batch, batch
    if offsets[0] != 0 or offsets[-1] != ids.size or np.any(offsets[1:] < offsets[:-1]):
        raise ValueError(f"offsets must rise from 0 to the number of ids, {ids.size}")
    return offsets[np.arange(tables + 1) * batch], batch


@compiled
def batch_major(rows: I64, offsets: I64, cold: I64) -> tuple[I64, I64]:
    """Bags of rows from feature-major to batch-major; an empty bag becomes one cold row.

    Args:
        rows: concatenated bags, feature-major, ``offsets`` [F * B + 1].
        cold: the cold row of each table [F].

    Returns:
        Rows, and offsets [B * F + 1], of bags with at least one row each.
    """
    tables = cold.size
    batch = (offsets.size - 1) // tables
    ends = np.zeros(batch * tables + 1, np.int64)
    for b in range(batch):
        for f in range(tables):
            at, bag = b * tables + f, f * batch + b
            ends[at + 1] = ends[at] + max(1, offsets[bag + 1] - offsets[bag])
    out = np.empty(ends[-1], np.int64)
    for b in range(batch):
        for f in range(tables):
            at, bag = ends[b * tables + f], f * batch + b
            if offsets[bag] == offsets[bag + 1]:
                out[at] = cold[f]
            for i in range(offsets[bag], offsets[bag + 1]):
                out[at] = rows[i]
                at += 1
    return out, ends
