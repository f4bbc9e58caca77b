"""stream_prune keeps a recommender small while it trains on a stream.

The public names, loaded when they are first used; each room has more of its own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_prune.artifact.scorer import Scorer as Scorer
    from stream_prune.drift.monitor import DriftMonitor as DriftMonitor
    from stream_prune.embedding.tables import EmbeddingTables as EmbeddingTables
    from stream_prune.errors import ConfigError as ConfigError
    from stream_prune.errors import RunError as RunError
    from stream_prune.features import FeatureSpec as FeatureSpec
    from stream_prune.sparsity.budget import Budget as Budget
    from stream_prune.sparsity.controller import SparsityController as SparsityController
    from stream_prune.sparsity.plan import Plan as Plan
    from stream_prune.sparsity.policies.ads import ADS as ADS
    from stream_prune.sparsity.policies.amgp import AMGP as AMGP
    from stream_prune.sparsity.policies.dsl_units import DSLUnits as DSLUnits
    from stream_prune.sparsity.policies.rate_on_drift import RateOnDrift as RateOnDrift
    from stream_prune.sparsity.policies.static import Static as Static

_HOME = {
    "ADS": "sparsity.policies.ads",
    "AMGP": "sparsity.policies.amgp",
    "Budget": "sparsity.budget",
    "ConfigError": "errors",
    "DSLUnits": "sparsity.policies.dsl_units",
    "DriftMonitor": "drift.monitor",
    "EmbeddingTables": "embedding.tables",
    "FeatureSpec": "features",
    "Plan": "sparsity.plan",
    "RateOnDrift": "sparsity.policies.rate_on_drift",
    "RunError": "errors",
    "Scorer": "artifact.scorer",
    "SparsityController": "sparsity.controller",
    "Static": "sparsity.policies.static",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
