"""Criteria: how important a unit is. One function a file; the table here names them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stream_prune.sparsity.criteria.activation_variance import activation_variance
from stream_prune.sparsity.criteria.criterion import Activations, Criterion, Steps, Weights
from stream_prune.sparsity.criteria.magnitude import magnitude
from stream_prune.sparsity.criteria.movement import movement, settle
from stream_prune.sparsity.criteria.taylor import taylor

__all__ = [
    "CRITERIA",
    "Activations",
    "Criterion",
    "Steps",
    "Weights",
    "activation_variance",
    "magnitude",
    "movement",
    "taylor",
]

CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "taylor": Steps(taylor),
        "magnitude": Weights(magnitude),
        "movement": Steps(movement, settle),
        "activation_variance": Activations(activation_variance),
    }
)
