"""The plugin: keeps any torch model physically small while it trains.

Its names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_prune.sparsity.budget import Budget as Budget
    from stream_prune.sparsity.controller import SparsityController as SparsityController
    from stream_prune.sparsity.cost import Cost as Cost
    from stream_prune.sparsity.events import Event as Event
    from stream_prune.sparsity.plan import Plan as Plan
    from stream_prune.sparsity.policies.ads import ADS as ADS
    from stream_prune.sparsity.policies.static import Static as Static
    from stream_prune.sparsity.rows import RowTable as RowTable

_HOME = {
    "ADS": "policies.ads",
    "Budget": "budget",
    "Cost": "cost",
    "Event": "events",
    "Plan": "plan",
    "RowTable": "rows",
    "SparsityController": "controller",
    "Static": "policies.static",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
