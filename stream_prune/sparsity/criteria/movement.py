"""Movement criterion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stream_prune.sparsity.criteria.criterion import Slices


def movement(produced: Sequence[Slices], consumed: Sequence[Slices]) -> Tensor:
    """-sum of w * dL/dw over a unit's outgoing weights, for the gradient of one optimizer step.

    Positive where a step of gradient descent makes the weights' norm grow: the unit is moving away
    from zero, however small it still is. Outgoing weights, because those that enter a batch norm
    have no such movement at all.

    Args:
        produced: the slices that compute the units (not used).
        consumed: the slices that read them, with gradients.

    Returns:
        float64 [K], of either sign; summed over the steps of a window, then see :func:`settle`.

    Source: Sanh et al., Movement Pruning: Adaptive Sparsity by Fine-Tuning (arXiv 2005.07683),
    eq. 2, there for single weights.
    """
    del produced
    total: Tensor | None = None
    for values, gradients in consumed:
        if gradients is None:
            gradients = torch.zeros_like(values)
        part = (values * gradients).sum(dim=1, dtype=torch.float64)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("a group without consumers has no movement")
    return -total


def settle(total: Tensor) -> Tensor:
    """The sigmoid of a window's movement over its mean size: float64 [K] in (0, 1).

    Allocation compares shares of a group's mean, so scores may not be negative. The sigmoid is that
    of the paper's soft thresholds; the scale is this project's own, so that the size of a group's
    gradients does not matter.
    """
    size = total.abs().mean()
    return torch.full_like(total, 0.5) if size == 0 else torch.sigmoid(total / size)
