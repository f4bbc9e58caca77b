"""Criteria: how important a unit is. One function a file; the table here names them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stream_prune.sparsity.criteria.criterion import Criterion
from stream_prune.sparsity.criteria.magnitude import magnitude
from stream_prune.sparsity.criteria.taylor import taylor

CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "taylor": Criterion(taylor, every_step=True),
        "magnitude": Criterion(magnitude, every_step=False),
    }
)
