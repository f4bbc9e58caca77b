"""Bags that are longer than their table allows keep their last values; in NumPy, for serving too.

Of a history in the order of time the last values are the latest ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def last_values(offsets: I64, most: int | I64) -> tuple[npt.NDArray[np.bool_], I64]:
    """Which values [n] stay, and the bounds [bags + 1] of the bags that they make.

    Args:
        offsets: bounds of the bags, [bags + 1], from 0 to n.
        most: values that a bag may have, 1 or more; one for all, or [bags].

    >>> kept, bounds = last_values(np.array([0, 3, 3, 4]), 2)
    >>> kept.tolist(), bounds.tolist()
    ([False, True, True, True], [0, 2, 2, 3])
    """
    lengths = np.diff(offsets)
    stay = np.minimum(lengths, most)
    kept = np.arange(offsets[-1]) >= np.repeat(offsets[1:] - stay, lengths)
    return kept, np.concatenate((offsets[:1], np.cumsum(stay)))
