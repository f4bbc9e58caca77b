"""How far a model is from the best possible one, on streams whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stream_prune.evaluation.sums import Sums

Floats = npt.NDArray[np.floating]


def regret(
    ne: float | None, ne_after_warmup: float | None, labels: Floats, truth: Floats, warmup: int
) -> dict[str, float | None]:
    """NE over the NE of the probabilities that the labels were drawn with; 1 is the best possible.

    The labels that were drawn are the same on both sides, so their luck cancels out.

    Args:
        ne, ne_after_warmup: the model's, over these rows.
        labels, truth: [rows] of 0 and 1, and P(label = 1), of the evaluated rows in their order.
        warmup: rows that ``ne_after_warmup`` leaves out.

    >>> truth = np.array([0.9, 0.1, 0.6, 0.4])
    >>> round(regret(0.9, 0.8, np.array([1, 0, 1, 0]), truth, 2)["ne_over_bayes"], 3)
    2.025
    """
    whole, late = (Sums.of(labels[start:], truth[start:]).ne for start in (0, warmup))
    return {
        "bayes_ne": whole,
        "bayes_ne_after_warmup": late,
        "ne_over_bayes": _over(ne, whole),
        "ne_over_bayes_after_warmup": _over(ne_after_warmup, late),
    }


def _over(ne: float | None, best: float | None) -> float | None:
    return None if ne is None or not best else ne / best
