"""Choosing a number of entries: exact, and the same on every run."""

from __future__ import annotations

import torch
from torch import Tensor


def largest(values: Tensor, count: int) -> Tensor:
    """Marks the ``count`` largest entries; of equal ones those that come first.

    ``torch.topk`` promises nothing about equal entries, and a resumed run must choose the same.

    Args:
        values: [n], not NaN.
        count: 0 to n.

    Returns:
        bool [n].

    >>> largest(torch.tensor([1.0, 3.0, 1.0, 1.0]), 2)
    tensor([ True,  True, False, False])
    """
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    least = values.kthvalue(len(values) - count + 1).values
    above, level = values > least, values == least
    return above | (level & (level.cumsum(0) <= count - above.sum()))


def first_largest(rows: Tensor) -> Tensor:
    """Marks the first of the largest entries of every row: bool [R, n] of [R, n]."""
    level = rows == rows.amax(dim=1, keepdim=True)
    return level & (level.cumsum(1) == 1)
