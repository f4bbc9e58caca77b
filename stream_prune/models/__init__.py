"""Heads of click models: plain modules, no sparsity code in them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_prune.models.dlrm import DLRMHead, DLRMHeadConfig
    from stream_prune.models.standardise import RunningStandardise

__all__ = ["DLRMHead", "DLRMHeadConfig", "RunningStandardise"]


def __getattr__(name: str) -> object:
    if name == "RunningStandardise":
        from stream_prune.models.standardise import RunningStandardise

        return RunningStandardise
    if name in __all__:
        from stream_prune.models import dlrm

        return getattr(dlrm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
