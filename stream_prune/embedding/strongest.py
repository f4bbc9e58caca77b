"""The strongest of a few hundred counts, in a few passes over them.

Sorted by their bits: those of positive floats rise with them, so a shift gives buckets of an eighth
of a doubling, and only what shares a bucket is compared.
"""

import numpy as np
import numpy.typing as npt

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.id_map import I64

F32 = npt.NDArray[np.float32]

_BUCKETS = 256
_LAST = _BUCKETS - 1  # holds all that is less than 2^-31 of the strongest, or negative
_SHIFT = 20  # of a float32: three bits of the fraction remain


@compiled
def _ends(counts: F32, bucket: I64) -> I64:
    """The bucket of each, the strongest in bucket 0; returns how many are in them or before."""
    bits = counts.view(np.int32)
    top = np.int64(bits.max())
    ends = np.zeros(_BUCKETS, np.int64)
    for i in range(bits.size):
        bucket[i] = min(int(top - bits[i]) >> _SHIFT, _LAST)
        ends[bucket[i]] += 1
    for place in range(1, _BUCKETS):
        ends[place] += ends[place - 1]
    return ends


@compiled
def least_of_strongest(counts: F32, rows: int) -> np.float32:
    """The count of the last of the ``rows`` strongest; there are more than so many, in all."""
    bucket = np.empty(counts.size, np.int64)
    ends = _ends(counts, bucket)
    place = np.searchsorted(ends, rows)
    before = ends[place - 1] if place > 0 else 0
    inside = np.empty(ends[place] - before, np.float32)
    found = 0
    for i in range(counts.size):
        if bucket[i] == place:
            inside[found] = counts[i]
            found += 1
    rank = inside.size - (rows - before)
    return np.float32(np.partition(inside, rank)[rank])


@compiled
def order(counts: F32) -> I64:
    """The places of all counts, the strongest first, of equals the first one first.

    What is less than 2^-31 of the strongest is not sorted.
    """
    bucket = np.empty(counts.size, np.int64)
    found = np.empty(counts.size, np.int64)
    if counts.size == 0:
        return found
    ends = _ends(counts, bucket)
    for i in range(counts.size - 1, -1, -1):
        ends[bucket[i]] -= 1
        found[ends[bucket[i]]] = i
    for at in range(1, ends[_LAST]):
        place = found[at]
        while at > 0 and counts[found[at - 1]] < counts[place]:
            found[at] = found[at - 1]
            at -= 1
        found[at] = place
    return found
