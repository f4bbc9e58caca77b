"""A scaling law with what one must know before believing it: intervals, and how far it carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.errors import RunError
from stream_prune.scaling.power_law import LEAST_POINTS, PowerLaw, fit, refits

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES, TEST_RESAMPLES = 400, 100
HELD_OUT = 0.25
"""Share of the distinct sizes, the largest ones, that the law is tested on."""
LEAST_SPAN = 8.0
"""Largest over smallest size below which a power cannot be told from a line."""
REACH = 4.0
"""Beyond the largest size by no more than this factor, however well the law holds."""
NOISE = 3.0
"""Standard errors by which a held-out point may lie off the law."""
LEVEL = 0.01
"""In so many of the cases in which the loss does not depend on the size, a law is taken for one."""


@dataclass(frozen=True)
class Study:
    """A fitted law.

    Attributes:
        x, loss: the points [n].
        law: fitted to all of them.
        resampled: laws of the bootstrap [R, 3] of a, b, c.
        noise: standard deviation of log L around the law: what seeds differ by.
        held_out: sizes that the law was tested on, with the relative error there of a law that was
            fitted to the smaller ones alone; empty where there were too few.
        refusal: why the law must not be extrapolated; empty: it may be, up to :data:`REACH`.
    """

    x: Floats
    loss: Floats
    law: PowerLaw
    resampled: Floats
    noise: float
    held_out: tuple[tuple[float, float], ...]
    refusal: str

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Of ``a``, ``b`` or ``c``."""
        return _percentiles(self.resampled[:, "abc".index(name)], level)

    def band(self, x: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
        """Between which the law lies at x [n]."""
        a, b, c = (self.resampled[:, [i]] for i in range(3))
        low, high = np.percentile(a * x**-b + c, (50 * (1 - level), 50 * (1 + level)), axis=0)
        return low, high

    def predict(self, x: float, level: float = 0.95) -> tuple[float, Interval]:
        """The loss at x, with its interval.

        Raises:
            RunError: x is beyond what the points carry, with the reason.
        """
        largest = float(self.x.max())
        if x > largest and self.refusal:
            raise RunError(f"no prediction at {x:,.4g}, beyond {largest:,.4g}: {self.refusal}")
        if x > REACH * largest or x < self.x.min() / REACH:
            raise RunError(
                f"no prediction at {x:,.4g}: the points reach from {self.x.min():,.4g} to "
                f"{largest:,.4g}, and a law is trusted {REACH:g} times as far: measure closer to it"
            )
        low, high = self.band(np.array([x]), level)
        return self.law.at(x), (float(low[0]), float(high[0]))


def study(x: Floats, loss: Floats, seed: int = 0) -> Study:
    """Fit the law, resample it, and test it on the largest sizes.

    Args:
        x: [n] sizes; several points of one size (seeds) say how noisy they are.
        loss: [n].
        seed: of the resampling.

    Raises:
        RunError: there are too few points for any law.

    Source: the residual bootstrap (Efron 1979) with residuals divided by the root of one minus
    their leverage (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section
    6.2.3), and stretched by Student's over the normal quantile, as few points ask for.
    """
    x, loss = np.asarray(x, np.float64), np.asarray(loss, np.float64)
    rng = np.random.default_rng(seed)
    law, noise, resampled = _fitted(x, loss, rng, RESAMPLES)
    tested = _test(x, loss, rng)
    held_out = tuple((each.size, each.error) for each in tested)
    return Study(x, loss, law, resampled, noise, held_out, _refusal(x, loss, law, tested))


def fisher_interval(law: PowerLaw, x: Floats, noise: float) -> dict[str, float]:
    """Half widths of the 95 % intervals that Fisher's information promises at best.

    Args:
        law: the true one.
        x: [n] sizes.
        noise: standard deviation of log L.
    """
    above, whole = law.a * x**-law.b, law.curve(x)
    jacobian = np.stack([above / law.a, -np.log(x) * above, np.ones_like(x)], 1) / whole[:, None]
    covariance = noise**2 * np.linalg.inv(jacobian.T @ jacobian)
    return dict(zip("abc", (1.96 * np.sqrt(np.diag(covariance))).tolist(), strict=True))


def _residuals(law: PowerLaw, x: Floats, loss: Floats) -> tuple[float, Floats]:
    """Their deviation, and the residuals of log L as the bootstrap draws them."""
    from scipy.special import stdtrit

    above, whole = law.a * x**-law.b, law.curve(x)
    jacobian = np.stack([above, -np.log(x) * above, np.ones_like(x)], 1) / whole[:, None]
    leverage = np.einsum("ni,ij,nj->n", jacobian, np.linalg.pinv(jacobian.T @ jacobian), jacobian)
    residual = np.log(loss / whole)
    freedom = len(x) - 3
    spread = residual / np.sqrt(np.maximum(1 - leverage, 0.05))
    noise = float(np.sqrt((residual**2).sum() / freedom))
    return noise, (spread - spread.mean()) * float(stdtrit(freedom, 0.975)) / 1.96


def _fitted(
    x: Floats, loss: Floats, rng: np.random.Generator, resamples: int
) -> tuple[PowerLaw, float, Floats]:
    law = fit(x, loss)
    noise, residuals = _residuals(law, x, loss)
    drawn = rng.choice(residuals, (resamples, len(x)))
    return law, noise, refits(x, law.curve(x) * np.exp(drawn), law)


class _Tested(NamedTuple):
    """A size that the law was not fitted to: how far off it is there, and how far it may be."""

    size: float
    error: float
    allowed: float


def _test(x: Floats, loss: Floats, rng: np.random.Generator) -> tuple[_Tested, ...]:
    sizes = np.unique(x)
    count = min(max(1, round(HELD_OUT * len(sizes))), len(sizes) - LEAST_POINTS)
    if count < 1:
        return ()
    known = x < sizes[-count]
    law, noise, resampled = _fitted(x[known], loss[known], rng, TEST_RESAMPLES)
    a, b, c = (resampled[:, [i]] for i in range(3))
    found = []
    for size in sizes[-count:].tolist():
        here = loss[x == size]
        low, high = np.percentile(a * size**-b + c, (2.5, 97.5))
        # The band is of 95 %, a refusal wants to be surer; and the point has a noise of its own.
        band = NOISE / 2 * (high - low) / 2 / law.at(size)
        allowed = float(band + NOISE * noise / np.sqrt(len(here)))
        found.append(_Tested(size, law.at(size) / float(here.mean()) - 1, allowed))
    return tuple(found)


def chance_of_constant(x: Floats, loss: Floats, law: PowerLaw) -> float:
    """How often losses that do not depend on the size would follow some law as well as these.

    An F-test of the law against the mean of log L, which has two parameters fewer. As the law can
    only fall, and is fitted by Huber's loss, it is so often at most.

    Args:
        x, loss: the points [n].
        law: fitted to them.
    """
    from scipy.special import fdtrc

    log = np.log(loss)
    constant = float(((log - log.mean()) ** 2).sum())
    left = float(((log - np.log(law.curve(x))) ** 2).sum())
    if left >= constant:
        return 1.0
    if left == 0:
        return 0.0
    freedom = len(x) - 3
    return float(fdtrc(2, freedom, (constant - left) / 2 / (left / freedom)))


def _refusal(x: Floats, loss: Floats, law: PowerLaw, tested: tuple[_Tested, ...]) -> str:
    smallest, largest = float(x.min()), float(x.max())
    if largest / smallest < LEAST_SPAN:
        return (
            f"the sizes span a factor of {largest / smallest:.1f} only, {LEAST_SPAN:g} are needed "
            "to tell a power from a line: measure smaller or larger ones"
        )
    chance = chance_of_constant(x, loss, law)
    if chance > LEVEL:
        fall = float(np.log(law.at(smallest) / law.at(largest)))
        return (
            f"the loss falls by {100 * fall:.2f} % over all sizes, which does not let one tell it "
            f"from a constant one: such a fall or more would be chance in {100 * chance:.2g} % of "
            f"cases, {100 * LEVEL:g} % are allowed"
        )
    if not tested:
        return (
            f"{len(np.unique(x))} sizes leave none to test the law on: "
            f"measure {LEAST_POINTS + 1} or more"
        )
    for size, error, allowed in tested:
        if abs(error) > allowed:
            return (
                f"fitted without the largest sizes, the law is off by {100 * error:+.2f} % at "
                f"{size:,.4g}, more than noise explains ({100 * allowed:.2f} %): another law "
                "begins there, or the runs were not trained alike"
            )
    return ""


def _percentiles(values: Floats, level: float) -> Interval:
    low, high = np.percentile(values, (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)
