"""What serving loads: a folder of checkable files, its writer (torch) and its scorer (no torch).

The writer is ``stream_prune.artifact.write.write``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_prune.artifact.format import Manifest, read_manifest, verify
    from stream_prune.artifact.lineage import Lineage
    from stream_prune.artifact.model_card import ModelCard
    from stream_prune.artifact.requests import ScoreError
    from stream_prune.artifact.scorer import Scorer

_HOMES = {
    "Manifest": "format",
    "read_manifest": "format",
    "verify": "format",
    "Lineage": "lineage",
    "ModelCard": "model_card",
    "ScoreError": "requests",
    "Scorer": "scorer",
}

__all__ = [
    "Lineage",
    "Manifest",
    "ModelCard",
    "ScoreError",
    "Scorer",
    "read_manifest",
    "verify",
]


def __getattr__(name: str) -> object:
    """The public names, imported when they are first asked for: scoring never meets torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
