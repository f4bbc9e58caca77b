"""Logloss, and normalized entropy: logloss over the entropy of the base rate."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1; float32 sigmoids reach both exactly."""


def losses(labels: Floats, scores: Floats) -> npt.NDArray[np.float64]:
    """Logloss of each row [B], in nats, of labels [B] and probabilities [B]."""
    p = np.clip(scores.astype(np.float64), CLIP, 1 - CLIP)
    return -np.log(np.where(labels > 0.5, p, 1 - p))


def base_entropy(positives: int, rows: int) -> float:
    """Entropy in nats of a base rate: the logloss of always answering it.

    >>> round(base_entropy(1, 2), 4)
    0.6931
    """
    if not 0 < positives < rows:
        return 0.0
    rate = positives / rows
    return -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


def normalized_entropy(logloss: float, positives: int, rows: int) -> float | None:
    """``logloss`` over the entropy of the base rate ``positives / rows``; None while that is 0.

    1 means no better than always answering the base rate. Source: He et al., Practical Lessons from
    Predicting Clicks on Ads at Facebook, 2014, section 3.
    """
    entropy = base_entropy(positives, rows)
    return logloss / entropy if entropy > 0 else None


def relative_cross_entropy(ne: float | None) -> float | None:
    """By how many percent the logloss lies below that of always answering the base rate.

    The same as NE, told the other way round: 0 is no better, 100 is perfect.

    >>> relative_cross_entropy(0.75)
    25.0
    """
    return None if ne is None else 100 * (1 - ne)
