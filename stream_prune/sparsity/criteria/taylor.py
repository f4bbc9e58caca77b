"""First-order Taylor criterion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stream_prune.sparsity.criteria.criterion import Slices


def taylor(produced: Sequence[Slices], consumed: Sequence[Slices]) -> Tensor:
    """|sum of w * dL/dw| over a unit's outgoing weights, for the gradient of one optimizer step.

    To first order that is by how much the loss changes when the unit is masked. It equals
    |sum over the batch of a * dL/da| of the unit's activation as its consumers read it, so a
    batch norm or any activation function in between needs no special case.

    Args:
        produced: the slices that compute the units (not used).
        consumed: the slices that read them, with gradients.

    Returns:
        float64 [K].

    Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient
    Inference (arXiv 1611.06440), eq. 7, there with the mean over the batch inside the bars too.
    """
    del produced
    total: Tensor | None = None
    for values, gradients in consumed:
        if gradients is None:
            gradients = torch.zeros_like(values)
        part = (values * gradients).sum(dim=1, dtype=torch.float64)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("a group without consumers has no Taylor score")
    return total.abs()
