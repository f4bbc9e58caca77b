"""The click models, as changes to a log's configuration, dense and kept small by ``ads``."""

from __future__ import annotations

from typing import Any

from compare_policies.contenders import Changes, contenders
from compare_policies.logs import Log, Stream

VARIANTS = ("dense", "ads")
_FACTOR = 2

MODELS: dict[str, dict[str, Any]] = {
    "dlrm": {"name": "dlrm", "dim": 16, "bottom": [256, 128], "top": [256, 128]},
    "dlrm projected": {
        "name": "dlrm",
        "dim": 16,
        "bottom": [256, 128],
        "top": [256, 128],
        "parameters": {"projected": 16},
    },
    "dcn": {
        "name": "dcn",
        "dim": 16,
        "bottom": [],
        "top": [256, 128],
        "parameters": {"layers": 3, "rank": 64},
    },
    "deepfm": {"name": "deepfm", "dim": 17, "bottom": [], "top": [256, 128]},
    "wide_deep": {"name": "wide_deep", "dim": 17, "bottom": [], "top": [256, 128]},
    "dhen": {
        "name": "dhen",
        "dim": 16,
        "bottom": [256, 128],
        "top": [256, 128],
        "parameters": {
            "layers": 2,
            "interactions": ["dlrm", "linear"],
            "vectors": 8,
            "projected": 16,
            "hidden": 128,
        },
    },
}
"""Of about equal widths: those of ``configs/models``."""


def _from(lowest: float, count: int) -> tuple[float, ...]:
    return tuple(lowest * _FACTOR**power for power in range(count))


LOGS = (
    Log("flights", "quickstart/dense.yaml", 336_776, _from(0.0014, 4)),
    Log("ml-100k", "ml-100k.yaml", 100_000, _from(0.00125, 4)),
    Log("synthetic", "synthetic.yaml", 300_000, _from(0.001, 4), generated=True),
)
SHORT_LOGS = (
    Log("flights", "quickstart/dense.yaml", 40_000, _from(0.0028, 1)),
    Log("ml-100k", "ml-100k.yaml", 20_000, _from(0.005, 1)),
    Log("synthetic", "synthetic.yaml", 40_000, _from(0.002, 1), generated=True),
)


def compared(stream: Stream, names: tuple[str, ...]) -> dict[str, Changes]:
    """Per model and variant its changes; ``ads`` is that of the comparison of policies."""
    ads = contenders(stream)["ads"]
    return {
        label(name, variant): {"model": MODELS[name]} | (ads if variant == "ads" else {})
        for name in names
        for variant in VARIANTS
    }


def label(model: str, variant: str) -> str:
    """Name of a model's variant in tables and folders."""
    return f"{model}, {variant}"
