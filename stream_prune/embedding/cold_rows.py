"""Which cold row an id without a row of its own reads and trains; in NumPy alone, for serving too.

A table's cold rows are addressed by hash: of n cold rows an id has the one in whose n-th part of
the hash's range it falls. With n = 1 all share one. (With every row a cold one, this is the hashing
trick of Weinberger et al. 2009, arXiv 0902.2206.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def cold_rows(
    ids: npt.NDArray[np.int64], rows: int | npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The places [n] of ids [n] among a table's cold rows, in [0, rows); ``rows`` may be [n].

    >>> cold_rows(np.array([1, 2, 3, 2**63 - 1]), 1).tolist()
    [0, 0, 0, 0]
    """
    bits = ids.astype(np.uint64)
    high = ((bits ^ (bits >> _HALF)) * _MIX) >> _HALF
    return ((high * np.asarray(rows).astype(np.uint64)) >> _HALF).astype(np.int64)


def heirs(rows: int, before: int) -> npt.NDArray[np.int64]:
    """Of each of ``rows`` cold rows the one of ``before`` that most of its ids had.

    >>> heirs(2, 4).tolist(), heirs(4, 2).tolist()
    ([1, 3], [0, 0, 1, 1])
    """
    return (2 * np.arange(rows) + 1) * before // (2 * rows)
