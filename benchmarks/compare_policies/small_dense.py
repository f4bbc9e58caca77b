"""The widths of the small dense rival: as large as the budget allows, in the full model's shape."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

import torch

from stream_prune.features import FeatureSpec
from stream_prune.models.dlrm import DLRMHead, DLRMHeadConfig
from stream_prune.sparsity.cost import dense_cost
from stream_prune.sparsity.example import Example
from stream_prune.training.config import ModelConfig

ROUND_TO = 8
"""Widths are multiples of this, as those of pruned models are by default."""


def small_widths(
    model: ModelConfig, spec: FeatureSpec, share: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Hidden widths of the bottom and the top MLP that cost at most ``share`` of the full MACs.

    All layers are narrowed by the same ratio first; then the one that has come off worst is
    widened by a step, again and again, until no layer can be: within one rounding step of the
    share.
    """
    full = (*model.bottom, *model.top)
    limit = share * macs(model, spec, full)
    percents = range(101)
    best = bisect_right(percents, limit, key=lambda p: macs(model, spec, _narrowed(full, p))) - 1
    widths = _narrowed(full, percents[max(0, best)])
    while True:
        for place in sorted(range(len(full)), key=lambda i: widths[i] / full[i]):
            wider = list(widths)
            wider[place] = min(full[place], wider[place] + ROUND_TO)
            if widths[place] < full[place] and macs(model, spec, tuple(wider)) <= limit:
                widths = tuple(wider)
                break
        else:
            return widths[: len(model.bottom)], widths[len(model.bottom) :]


@lru_cache
def macs(model: ModelConfig, spec: FeatureSpec, widths: tuple[int, ...]) -> int:
    """MACs per example of the model's head with these hidden widths, bottom's and top's."""
    cut = len(model.bottom)
    shape = DLRMHeadConfig(
        len(spec.dense), len(spec.categorical), model.dim, widths[:cut], widths[cut:]
    )
    with torch.device("meta"):  # shapes are all that counts
        example = torch.zeros(1, shape.dense), torch.zeros(1, shape.tables, shape.dim)
        return dense_cost(DLRMHead(shape), Example(example)).macs_inference


def _narrowed(full: tuple[int, ...], percent: int) -> tuple[int, ...]:
    return tuple(max(ROUND_TO, width * percent // 100 // ROUND_TO * ROUND_TO) for width in full)
