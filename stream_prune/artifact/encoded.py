"""Rows of a mini-batch log as the scorer takes them: they are encoded already."""

from __future__ import annotations

import numpy as np

from stream_prune.artifact.inputs import Inputs
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import MiniBatch


def inputs_of(batch: MiniBatch, spec: FeatureSpec) -> Inputs:
    """The features of a mini-batch of B rows.

    Args:
        batch: of a log with the features of ``spec``.
        spec: says which columns are multi-valued.
    """
    rows = batch.rows
    if batch.offsets is None:
        return Inputs(batch.dense, batch.ids)
    found, offsets = [], []
    for f, column in enumerate(spec.categorical):
        bounds = batch.offsets[f * rows : (f + 1) * rows + 1]
        found.append(batch.ids[bounds[0] : bounds[-1]])
        offsets.append(np.asarray(bounds - bounds[0]) if column.multi else None)
    return Inputs.of(batch.dense, found, offsets)
