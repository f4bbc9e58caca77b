"""Heads of click models: plain modules, no sparsity code in them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_prune.models.dcn import DCNHead, DCNHeadConfig
    from stream_prune.models.deepfm import DeepFMHead
    from stream_prune.models.dhen import DHENHead, DHENHeadConfig
    from stream_prune.models.dlrm import DLRMHead, DLRMHeadConfig
    from stream_prune.models.first_order import FirstOrderHeadConfig
    from stream_prune.models.standardise import RunningStandardise
    from stream_prune.models.wide_deep import WideDeepHead

__all__ = [
    "DCNHead",
    "DCNHeadConfig",
    "DHENHead",
    "DHENHeadConfig",
    "DLRMHead",
    "DLRMHeadConfig",
    "DeepFMHead",
    "FirstOrderHeadConfig",
    "RunningStandardise",
    "WideDeepHead",
]

_FILES = {
    "DCN": "dcn",
    "DHEN": "dhen",
    "DLRM": "dlrm",
    "DeepFM": "deepfm",
    "FirstOrder": "first_order",
    "RunningStandardise": "standardise",
    "WideDeep": "wide_deep",
}


def __getattr__(name: str) -> object:
    if name in __all__:
        file = _FILES[name.removesuffix("Config").removesuffix("Head")]
        return getattr(import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
