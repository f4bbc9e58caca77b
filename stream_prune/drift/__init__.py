"""Drift detection on the loss of a model that is tested before it is trained."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_prune.drift.adwin import Adwin as Adwin
    from stream_prune.drift.cusum import Cusum as Cusum
    from stream_prune.drift.detector import Detector as Detector
    from stream_prune.drift.monitor import DriftMonitor as DriftMonitor
    from stream_prune.drift.monitor import DriftSignal as DriftSignal
    from stream_prune.drift.page_hinkley import PageHinkley as PageHinkley

_HOME = {
    "Adwin": "adwin",
    "Cusum": "cusum",
    "Detector": "detector",
    "DriftMonitor": "monitor",
    "DriftSignal": "monitor",
    "PageHinkley": "page_hinkley",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
