"""What a criterion sees and when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor


class Slices(NamedTuple):
    """One member's live slices, a row per kept unit.

    Attributes:
        values: float [K, n].
        gradients: float [K, n], None for buffers and for parameters without a gradient.
    """

    values: Tensor
    gradients: Tensor | None


Score = Callable[[Sequence[Slices], Sequence[Slices]], Tensor]
"""From the slices that produce the units and those that consume them to float64 [K]."""


class Criterion(NamedTuple):
    """A scoring function and when it is evaluated.

    Attributes:
        score: the function.
        every_step: evaluate it before every optimizer step of a scored window, and add up (it
            needs gradients); otherwise it is evaluated once, when scores are asked for.
    """

    score: Score
    every_step: bool
