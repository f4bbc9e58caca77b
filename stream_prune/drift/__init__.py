"""Drift detection on the loss of a model that is tested before it is trained."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_prune.drift.adwin import Adwin as Adwin
    from stream_prune.drift.cusum import Cusum as Cusum
    from stream_prune.drift.ddm import Ddm as Ddm
    from stream_prune.drift.ddm import Eddm as Eddm
    from stream_prune.drift.ddm import HddmA as HddmA
    from stream_prune.drift.ddm import HddmW as HddmW
    from stream_prune.drift.detector import Detector as Detector
    from stream_prune.drift.id_churn import IdChurn as IdChurn
    from stream_prune.drift.input_monitor import InputMonitor as InputMonitor
    from stream_prune.drift.kswin import Kswin as Kswin
    from stream_prune.drift.mewma import Mewma as Mewma
    from stream_prune.drift.monitor import DriftMonitor as DriftMonitor
    from stream_prune.drift.monitor import DriftSignal as DriftSignal
    from stream_prune.drift.page_hinkley import PageHinkley as PageHinkley
    from stream_prune.drift.population import DensePopulation as DensePopulation
    from stream_prune.drift.population import ScorePopulation as ScorePopulation
    from stream_prune.drift.residuals import ResidualMonitor as ResidualMonitor
    from stream_prune.drift.vote import Vote as Vote

_HOME = {
    "Adwin": "adwin",
    "Cusum": "cusum",
    "Ddm": "ddm",
    "DensePopulation": "population",
    "Detector": "detector",
    "DriftMonitor": "monitor",
    "DriftSignal": "monitor",
    "Eddm": "ddm",
    "HddmA": "ddm",
    "HddmW": "ddm",
    "IdChurn": "id_churn",
    "InputMonitor": "input_monitor",
    "Kswin": "kswin",
    "Mewma": "mewma",
    "PageHinkley": "page_hinkley",
    "ResidualMonitor": "residuals",
    "ScorePopulation": "population",
    "Vote": "vote",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
