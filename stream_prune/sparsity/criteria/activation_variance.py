"""Activation variance criterion."""

from __future__ import annotations

from torch import Tensor


def activation_variance(moments: Tensor) -> Tensor:
    """The variance of a unit's activation over the examples of a window, as a layer reads it.

    A unit that hardly varies tells its readers nothing that their bias could not. Where a unit
    feeds several inputs (positions after a flatten), their variances are added.

    Args:
        moments: float64 [K, n, 3]: number of values, sum, and sum of squares.

    Returns:
        float64 [K].

    Source: Polyak and Wolf, Channel-Level Acceleration of Deep Face Representations (IEEE Access 3,
    2015), known to this project from secondary notes; there the variance is that of a channel's
    contribution to its reader, here that of the activation itself.
    """
    count, total, squares = moments.unbind(dim=-1)
    count = count.clamp(min=1)
    variance = squares / count - (total / count).square()
    return variance.clamp(min=0).sum(dim=1)
