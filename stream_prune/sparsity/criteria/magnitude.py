"""Magnitude criterion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stream_prune.sparsity.criteria.criterion import Slices


def magnitude(produced: Sequence[Slices], consumed: Sequence[Slices]) -> Tensor:
    """The L2 norm of the weights and biases that produce a unit.

    Args:
        produced: the slices that compute the units; buffers (without a gradient of their own)
            are left out by the caller.
        consumed: the slices that read them (not used).

    Returns:
        float64 [K].

    Source: Li et al., Pruning Filters for Efficient ConvNets (arXiv 1608.08710), there with L1.
    """
    del consumed
    if not produced:
        raise ValueError("a group without producers has no magnitude")
    squares = [values.square().sum(dim=1, dtype=torch.float64) for values, _ in produced]
    return torch.stack(squares).sum(dim=0).sqrt()
