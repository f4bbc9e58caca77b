"""A tensor's mask: how it is drawn, and how weights are dropped and grown."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from stream_prune.sparsity.elements.select import first_largest, largest


class Rewired(NamedTuple):
    """What became of a tensor's mask.

    Attributes:
        mask: bool, the new mask; it keeps as many weights as the old one.
        survivors: bool, kept before and after without a break. Everything else is zero and
            without optimizer state now: dropped ones, and grown ones, which start there.
    """

    mask: Tensor
    survivors: Tensor


def draw(shape: tuple[int, ...], kept: int, generator: torch.Generator) -> Tensor:
    """A random mask with exactly ``kept`` weights: bool of ``shape``, on the CPU.

    One weight of every row comes first (a row holds a unit's incoming weights), if there are
    enough; the rest is drawn from all that are left, each as likely as the other.
    """
    keys = torch.rand(shape, generator=generator)
    rows = _rows(keys)
    if keys.dim() > 1 and kept >= len(rows):
        rows[first_largest(rows)] = 1.0  # rand() is below 1
    return largest(keys.flatten(), kept).view(shape)


def rewire(weight: Tensor, mask: Tensor, fraction: float, growth: Tensor) -> Rewired:
    """Drop ``ceil(fraction x kept)`` of the smallest |weight| and grow as many elsewhere.

    The largest kept weight of every row is never dropped, so no unit loses all its inputs, and no
    layer dies; fewer weights are dropped where that leaves fewer to choose from. (A row may be
    empty from the start, when the tensor keeps fewer weights than it has rows. Columns are not
    protected: an input may be ignored.) A weight that is dropped may be grown again at once.
    Of equal weights the last is dropped first, of equal growth scores the first is grown.

    Args:
        weight: the tensor, zero outside of the mask, finite.
        mask: bool of its shape.
        fraction: share of the kept weights to replace, in [0, 1].
        growth: scores of its shape, zero or above, finite; the largest are grown.
    """
    held = torch.where(mask, weight.abs(), -1.0)
    if weight.dim() > 1:
        protected = first_largest(_rows(held)).view_as(mask) & mask
    else:
        protected = torch.zeros_like(mask)
    droppable = int(mask.sum()) - int(protected.sum())
    count = min(ceil(fraction * int(mask.sum())), droppable)
    held[protected] = torch.inf
    survivors = largest(held.flatten(), int(mask.sum()) - count).view_as(mask)
    free = torch.where(survivors, -1.0, growth)
    grown = largest(free.flatten(), count).view_as(mask)
    return Rewired(survivors | grown, survivors)


def _rows(tensor: Tensor) -> Tensor:
    """A row per unit: [R, n]; a vector is one row."""
    return tensor.view(1, -1) if tensor.dim() < 2 else tensor.reshape(len(tensor), -1)
