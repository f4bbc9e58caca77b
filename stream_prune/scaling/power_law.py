"""The law L(x) = a x^-b + c, fitted: the loss falls as a power of x towards a floor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_prune.errors import RunError
from stream_prune.scaling.descent import descend

Floats = npt.NDArray[np.float64]

LEAST_POINTS = 5
"""Distinct values of x: three are the parameters', two speak against the law."""
STEPS, REFIT_STEPS = 150, 20


@dataclass(frozen=True)
class PowerLaw:
    """L(x) = ``a`` x^-``b`` + ``c``.

    >>> round(PowerLaw(1.0, 0.5, 0.2).at(4.0), 3)
    0.7
    """

    a: float
    b: float
    c: float

    def at(self, x: float) -> float:
        """The loss at x."""
        return float(self.curve(np.array([x]))[0])

    def curve(self, x: Floats) -> Floats:
        """The losses at x [n]."""
        return np.asarray(self.a * x**-self.b + self.c, np.float64)

    def needed(self, loss: float) -> float:
        """The x at which the law reaches ``loss``; infinite where it never does."""
        return math.inf if loss <= self.c else float((self.a / (loss - self.c)) ** (1 / self.b))


def fit(x: Floats, loss: Floats) -> PowerLaw:
    """The law that the points follow best, in the logarithm of the loss, from many starts.

    Args:
        x: [n] of what is scaled, above 0.
        loss: [n], above 0.

    Raises:
        RunError: points are too few or not positive.

    Source: Kaplan et al. 2020 (arXiv 2001.08361) for the form; Hoffmann et al. 2022 (arXiv
    2203.15556), section D.2, for Huber's loss on log L from a grid of starts; Ardalani et al. 2022
    (arXiv 2208.08489) for recommenders. Differs from Hoffmann et al. in the minimiser: see
    :func:`~stream_prune.scaling.descent.descend`.
    """
    x, loss = np.asarray(x, np.float64), np.asarray(loss, np.float64)
    if not (np.all(x > 0) and np.all(loss > 0) and np.all(np.isfinite(x + loss))):
        raise RunError("a scaling law: every x and every loss must be a number above 0")
    found = len(np.unique(x))
    if found < LEAST_POINTS:
        raise RunError(
            f"a scaling law: {found} distinct sizes, {LEAST_POINTS} are needed: three parameters, "
            "and two more to tell whether there is such a law at all"
        )
    scale = float(np.exp(np.log(x).mean()))  # log a is of the loss above the floor there
    starts = _starts(float(loss.min()), float(loss.max()))
    copies = np.broadcast_to(loss, (len(starts), len(loss)))
    theta, cost = descend(np.log(x / scale), copies, starts, STEPS)
    return _laws(theta[[int(np.argmin(cost))]], scale)[0]


def refits(x: Floats, losses: Floats, law: PowerLaw) -> Floats:
    """The laws of R resamples, [R, 3] of a, b, c, by the same fit from a start that is close.

    Args:
        x: [n].
        losses: [R, n].
        law: where all begin.
    """
    scale = float(np.exp(np.log(x).mean()))
    start = np.array([math.log(law.a) - law.b * math.log(scale), law.b, law.c])
    theta, _ = descend(
        np.log(x / scale), losses, np.broadcast_to(start, (len(losses), 3)), REFIT_STEPS
    )
    return np.array([(each.a, each.b, each.c) for each in _laws(theta, scale)])


def _laws(theta: Floats, scale: float) -> list[PowerLaw]:
    return [PowerLaw(math.exp(a + b * math.log(scale)), b, c) for a, b, c in theta.tolist()]


def _starts(low: float, high: float) -> Floats:
    """Exponents and floors over all that was ever seen, with an amplitude that fits."""
    return np.array(
        [
            (math.log(max(high - floor, 1e-9)), b, floor)
            for b in (0.05, 0.2, 0.5, 1.0, 2.0)
            for floor in (0.0, 0.5 * low, 0.9 * low, 0.99 * low)
        ]
    )
