"""The objective of the law's fit, minimised for many data sets, or from many places, at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HUBER = 1e-3
"""Residual of log L from which it counts linearly: a tenth of a percent is usual between seeds."""
MOST_B = 5.0
LEAST_B = 1e-3
SETTLED, PATIENCE = 1e-9, 8
"""All are there when so many steps in a row have lowered none by more than this share."""


def descend(logs: Floats, losses: Floats, theta: Floats, steps: int) -> tuple[Floats, Floats]:
    """Damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963) on log a, b and c.

    Huber's loss enters by the weights that it gives to the residuals of the step before.

    Args:
        logs: log x [n].
        losses: [R, n].
        theta: where each begins [R, 3]: log a, b, c.
        steps: that are tried at most.

    Returns:
        Where each ends [R, 3], and the objective there [R].
    """
    target, ceiling = np.log(losses), losses.min(1)
    theta = theta.copy()
    theta[:, 2] = np.minimum(theta[:, 2], 0.999 * ceiling)
    damping = np.full(len(losses), 1e-3)
    cost = _cost(theta, logs, target)
    still = 0
    for _ in range(steps):
        above = np.exp(theta[:, :1] - theta[:, 1:2] * logs)
        whole = above + theta[:, 2:]
        residual = np.log(whole) - target
        weight = np.minimum(1.0, HUBER / np.maximum(np.abs(residual), 1e-300))
        jacobian = np.stack([above, -logs * above, np.ones_like(above)], 2) / whole[:, :, None]
        weighted = (jacobian * weight[:, :, None]).transpose(0, 2, 1)
        hessian, gradient = weighted @ jacobian, weighted @ residual[:, :, None]
        diagonal = np.einsum("rii->ri", hessian) * damping[:, None] + 1e-18
        step = np.linalg.solve(hessian + diagonal[:, :, None] * np.eye(3), gradient)
        tried = theta - np.clip(step[:, :, 0], -3, 3)
        tried[:, 1] = np.clip(tried[:, 1], LEAST_B, MOST_B)
        tried[:, 2] = np.clip(tried[:, 2], 0.0, ceiling)
        found = _cost(tried, logs, target)
        better = found <= cost
        moving = bool((cost - found > SETTLED * cost).any())
        still = 0 if moving else still + 1
        theta[better], cost = tried[better], np.where(better, found, cost)
        if still == PATIENCE:
            break
        damping = np.clip(np.where(better, damping / 4, damping * 4), 1e-9, 1e9)
    return theta, cost


def _cost(theta: Floats, logs: Floats, target: Floats) -> Floats:
    whole = np.exp(theta[:, :1] - theta[:, 1:2] * logs) + theta[:, 2:]
    z = np.abs(np.log(whole) - target)
    return np.asarray(np.where(z <= HUBER, 0.5 * z**2, HUBER * (z - 0.5 * HUBER)).sum(1))
