"""The plugin: keeps any torch model physically small, or its weights sparse, while it trains.

Its names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_prune.sparsity.budget import Budget as Budget
    from stream_prune.sparsity.controller import SparsityController as SparsityController
    from stream_prune.sparsity.cost import Cost as Cost
    from stream_prune.sparsity.elements.controller import ElementController as ElementController
    from stream_prune.sparsity.events import Event as Event
    from stream_prune.sparsity.guardrail import Guardrail as Guardrail
    from stream_prune.sparsity.plan import Plan as Plan
    from stream_prune.sparsity.policies.ads import ADS as ADS
    from stream_prune.sparsity.policies.ads_shadow import ADSShadow as ADSShadow
    from stream_prune.sparsity.policies.amgp import AMGP as AMGP
    from stream_prune.sparsity.policies.dsl import DSL as DSL
    from stream_prune.sparsity.policies.dsl_units import DSLUnits as DSLUnits
    from stream_prune.sparsity.policies.rate_on_drift import RateOnDrift as RateOnDrift
    from stream_prune.sparsity.policies.rigl import RigL as RigL
    from stream_prune.sparsity.policies.set_evolution import SET as SET
    from stream_prune.sparsity.policies.static import Static as Static
    from stream_prune.sparsity.rows import RowTable as RowTable
    from stream_prune.sparsity.twin import Twin as Twin

_HOME = {
    "ADS": "policies.ads",
    "AMGP": "policies.amgp",
    "ADSShadow": "policies.ads_shadow",
    "Budget": "budget",
    "Cost": "cost",
    "DSL": "policies.dsl",
    "DSLUnits": "policies.dsl_units",
    "ElementController": "elements.controller",
    "Event": "events",
    "Guardrail": "guardrail",
    "Plan": "plan",
    "RateOnDrift": "policies.rate_on_drift",
    "RigL": "policies.rigl",
    "RowTable": "rows",
    "SET": "policies.set_evolution",
    "SparsityController": "controller",
    "Static": "policies.static",
    "Twin": "twin",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
