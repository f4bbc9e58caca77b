"""Where the row of an id is: one look-up for all tables of a model, whatever their sizes.

A table's ids are sorted by their hash, and a directory says where each value of the hash's first
bits begins. Some buckets hold several ids, so a look-up compares at most as many places as the
fullest bucket has. The arrays take 16 to 20 bytes an id and are never changed: threads may share
them. The loop over a request's ids is compiled: for one row of 26 columns it takes 2 us, of which
NumPy's calls alone would take 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from stream_prune.embedding.cold_rows import cold_rows

Ids = npt.NDArray[np.int64]

_MIXING = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth, TAOCP 3, section 6.4
_FOLD = np.uint64(29)
_NOBODY = np.int64(-1)


@dataclass(frozen=True)
class RowIndex:
    """The rows of F tables, numbered one table after another: the cold rows, then its ids' rows.

    In ``keys`` each table has its ids in the order of their hashes, and after them some places that
    nobody has, so that a look-up which runs past the last id never meets the next table's.
    """

    _keys: Ids
    _rows: npt.NDArray[np.integer]
    _cold: Ids
    _shared: Ids | None
    _directory: npt.NDArray[np.integer]
    _first: Ids
    _shift: npt.NDArray[np.uint64]
    _fullest: int
    _one: Ids

    @classmethod
    def of(cls, tables: Sequence[Ids], shared: Sequence[int] | None = None) -> RowIndex:
        """An index of the ids of each table [V], which differ from one another.

        Args:
            shared: the cold rows of each table [F]; None: one each.
        """
        shared = [1] * len(tables) if shared is None else shared
        bits = np.array([max(1, len(ids).bit_length()) for ids in tables], np.uint64)
        shift = np.uint64(64) - bits
        buckets = [_buckets(ids, by) for ids, by in zip(tables, shift, strict=True)]
        counts = [
            np.bincount(bucket, minlength=1 << int(size))
            for bucket, size in zip(buckets, bits, strict=True)
        ]
        fullest = max(1, *(int(count.max()) for count in counts))
        spare = np.full(fullest, _NOBODY)
        sizes = [len(ids) + count for ids, count in zip(tables, shared, strict=True)]
        cold = np.cumsum([0, *sizes[:-1]])
        keys, rows, directory, place = [], [], [], 0
        owned = cold + np.array(shared)
        for ids, first, bucket, count in zip(tables, owned, buckets, counts, strict=True):
            order = np.argsort(bucket, kind="stable")
            keys += [ids[order], spare]
            rows += [first + order, spare]
            directory.append(place + np.cumsum(count) - count)
            place += len(ids) + fullest
        first_bucket = np.cumsum([0, *(len(starts) for starts in directory[:-1])])
        # Half as wide where that is enough: look-ups wait for memory.
        narrow = np.int32 if place + len(owned) < 2**31 else np.int64
        return cls(
            np.concatenate(keys),
            np.concatenate(rows).astype(narrow),
            cold,
            np.array(shared) if max(shared) > 1 else None,
            np.concatenate(directory).astype(narrow),
            first_bucket,
            shift,
            fullest,
            np.ones(len(tables), np.int64),
        )

    def rows(self, ids: Ids, lengths: int | Ids) -> Ids:
        """The row [n] of each id; that of an id which its table does not know is a cold one.

        Args:
            ids: [n], one table's after another's.
            lengths: how many belong to each table: one number for all of them, or [F].
        """
        each = self._one * lengths
        alone = isinstance(lengths, int) and lengths == 1
        rows = self._cold.copy() if alone else self._cold.repeat(each)
        if self._shared is not None:
            rows += cold_rows(ids, self._shared.repeat(each))
        if not ids.flags.writeable:  # the loop is compiled for one kind of array
            ids = ids.copy()
        _find(
            ids, each, self._keys, self._rows, self._directory, self._first, self._shift,
            self._fullest, rows,
        )  # fmt: skip
        return rows


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]  # no cache on disk: numba unpickles those
def _find(
    ids: Ids,
    lengths: Ids,
    keys: Ids,
    own: npt.NDArray[np.integer],
    directory: npt.NDArray[np.integer],
    first: Ids,
    shift: npt.NDArray[np.uint64],
    fullest: int,
    rows: Ids,
) -> None:
    """Write the rows of known ids into ``rows`` [n]; the others keep what is there."""
    begin = 0
    for table in range(len(lengths)):
        buckets, by, end = first[table], shift[table], begin + lengths[table]
        for at in range(begin, end):
            key = ids[at]
            word = np.uint64(key)
            place = directory[buckets + np.int64(((word ^ (word >> _FOLD)) * _MIXING) >> by)]
            for step in range(fullest):
                if keys[place + step] == key:
                    rows[at] = own[place + step]
                    break
        begin = end


def _buckets(ids: Ids, shift: np.uint64 | npt.NDArray[np.uint64]) -> Ids:
    """The first bits of the ids' hashes, all but ``shift`` of them."""
    words = ids.view(np.uint64)
    hashes = (words ^ (words >> _FOLD)) * _MIXING
    return (hashes >> shift).view(np.int64)
