"""What rounded embedding rows cost: in a logit, and in normalized entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor, log10
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stream_prune.artifact.config import ArtifactConfig
from stream_prune.artifact.encoded import inputs_of
from stream_prune.artifact.inputs import Inputs
from stream_prune.artifact.model_card import LOGIT_TOLERANCE
from stream_prune.errors import RunError
from stream_prune.evaluation.entropy import losses
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import MiniBatch

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Logits: TypeAlias = Callable[[Inputs], Floats]
"""Logits [B] of encoded rows."""

PROBES = 2_048
"""Made-up rows on which the rounding is measured."""
MARGIN = 2.0
"""The stated tolerance over the greatest difference seen on them."""


def probes(example: Inputs, known: Sequence[Ints], rows: int = PROBES, seed: int = 0) -> Inputs:
    """Rows that look like the example's, with ids drawn from all that own a row.

    Args:
        example: encoded rows.
        known: the ids of each table; one in eight is an id of the example instead, own row or not.
        rows: how many.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    dense = example.dense[rng.integers(0, example.rows, rows)]
    ids, offsets = [], []
    for own, seen, bags in zip(known, example.columns, example.bounds, strict=True):
        count, ends = rows, None
        if bags is not None:
            lengths = np.diff(bags)[rng.integers(0, example.rows, rows)]
            ends = np.concatenate([[0], np.cumsum(lengths)])
            count = int(ends[-1])
        drawn = rng.choice(own, count) if len(own) else np.zeros(count, np.int64)
        if len(seen):
            drawn = np.where(rng.random(count) < 1 / 8, rng.choice(seen, count), drawn)
        ids.append(drawn)
        offsets.append(ends)
    return Inputs.of(dense, ids, offsets)


def difference(found: Floats, expected: Floats) -> float:
    """The greatest difference of two logits, relative to max(1, |logit|)."""
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)), initial=0.0))


def tolerance(found: Floats, expected: Floats, config: ArtifactConfig) -> float:
    """What an artifact with rounded rows may state: a margin above what was seen, in two digits.

    Args:
        found: its logits of the probes.
        expected: the trainer's.
        config: the most that is allowed.

    Raises:
        RunError: it is more than that.
    """
    wanted = max(MARGIN * difference(found, expected), LOGIT_TOLERANCE)
    if not wanted <= config.logit_tolerance:
        raise RunError(
            f"rows stored as {config.rows} change a logit by up to {wanted / MARGIN:.2g}; allowed "
            f"is {config.logit_tolerance / MARGIN:.2g} (half of artifact.logit_tolerance); store "
            "them as float16 or float32 (artifact.rows)"
        )
    digit = 10.0 ** (floor(log10(wanted)) - 1)
    return min(float(f"{ceil(wanted / digit) * digit:.1e}"), config.logit_tolerance)


def ne_lost(
    rounded: Logits, exact: Logits, batches: Iterable[MiniBatch], spec: FeatureSpec
) -> tuple[float, int]:
    """What rounding adds to the normalized entropy, as a share of it; and the labelled rows judged.

    Both are judged on the same rows, so the entropy that NE divides by is the same.
    """
    sums, rows = np.zeros(2), 0
    for batch in batches:
        known = batch.labelled
        if not known.any():
            continue
        inputs, labels = inputs_of(batch, spec), batch.label[known]
        rows += len(labels)
        for i, logits in enumerate((rounded, exact)):
            scores = 1 / (1 + np.exp(-logits(inputs)[known].astype(np.float64)))
            sums[i] += float(losses(labels, scores).sum())
    return (float(sums[0] / sums[1] - 1) if sums[1] else 0.0), rows
