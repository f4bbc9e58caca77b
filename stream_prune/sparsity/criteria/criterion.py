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


def _as_it_is(total: Tensor) -> Tensor:
    return total


class Weights(NamedTuple):
    """A criterion of weights, evaluated once, when scores are asked for.

    Attributes:
        score: the function.
    """

    score: Score


class Steps(NamedTuple):
    """A criterion of weights and gradients, evaluated before every optimizer step, and added up.

    Attributes:
        score: the function.
        settle: from the sum over the scored window to scores that are not negative, both
            float64 [K].
    """

    score: Score
    settle: Callable[[Tensor], Tensor] = _as_it_is


class Activations(NamedTuple):
    """A criterion of what the layers that read the units are given.

    Attributes:
        score: from float64 [K, n, 3], the number of values, their sum and the sum of their
            squares for each of the n inputs that a unit feeds, to float64 [K].
    """

    score: Callable[[Tensor], Tensor]


Criterion = Weights | Steps | Activations
