"""From feature-major look-ups to the batch-major order in which a model reads them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.id_map import I64

F32 = npt.NDArray[np.float32]


class Found(NamedTuple):
    """Where the ids of a batch are, as :meth:`EmbeddingTables.admit` tells.

    Attributes:
        rows: int64 [n], their flat rows, in the order of the ids (feature-major).
        offsets: int64 [F * B + 1], the bags' bounds, if any feature is multi-valued.
        layout: the assignment of rows that this holds for.
        weights: float32 [n], of the values in their bags; None: all 1.
    """

    rows: I64
    offsets: I64 | None
    layout: int
    weights: F32 | None = None


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


def check_weights(weights: F32 | None, ids: I64) -> None:
    """Weights of the values must be float32 [n], finite and not negative.

    Raises:
        TypeError: another type.
        ValueError: another length, or a weight out of range, with its place.
    """
    if weights is None:
        return
    if weights.dtype != np.float32:
        raise TypeError(f"weights: {weights.dtype}: must be float32")
    if weights.shape != ids.shape:
        raise ValueError(f"{weights.size} weights for {ids.size} ids: must be one for each")
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"weights[{at}] = {weights[at]}: must be finite and not negative")


@compiled
def batch_major(
    rows: I64, offsets: I64, cold: I64, mean: npt.NDArray[np.bool_], weights: F32
) -> tuple[I64, I64, F32]:
    """Bags of rows from feature-major to batch-major; an empty bag becomes one cold row.

    Args:
        rows: concatenated bags, feature-major, ``offsets`` [F * B + 1].
        cold: the first cold row of each table [F].
        mean: the tables [F] whose bags are averaged; those of others are summed.
        weights: of the values, or empty: all 1.

    Returns:
        Rows, offsets [B * F + 1] of bags with at least one row each, and what each row counts in
        its bag: in a mean the weights' shares of their sum, all 0 where that is 0.
    """
    tables = cold.size
    batch = (offsets.size - 1) // tables
    ends = np.zeros(batch * tables + 1, np.int64)
    for b in range(batch):
        for f in range(tables):
            at, bag = b * tables + f, f * batch + b
            ends[at + 1] = ends[at] + max(1, offsets[bag + 1] - offsets[bag])
    out = np.empty(ends[-1], np.int64)
    share = np.ones(ends[-1], np.float32)
    for b in range(batch):
        for f in range(tables):
            at, bag = ends[b * tables + f], f * batch + b
            begin, end = offsets[bag], offsets[bag + 1]
            if begin == end:
                out[at] = cold[f]
                continue
            total = np.float32(0.0)
            for i in range(begin, end):
                out[at + i - begin] = rows[i]
                weight = weights[i] if weights.size else np.float32(1.0)
                share[at + i - begin] = weight
                total = np.float32(total + weight)
            if mean[f]:
                for i in range(at, at + end - begin):
                    share[i] = share[i] / total if total > 0 else np.float32(0.0)
    return out, ends, share
