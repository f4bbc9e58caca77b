"""Exchange: which units a model starts with, drops and grows while its widths stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import torch
from torch import Tensor

from stream_prune.sparsity.allocate import allocate
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.cost import CostModel
from stream_prune.sparsity.draw import generator

Units = dict[str, tuple[int, ...]]


def drawn(cost: CostModel, budget: Budget, seed: int) -> Units:
    """Units to begin with: at random, the same share of every group, and then what still fits.

    Within the budget's MACs, and no more than one rounding step below. Equal seeds draw equal
    units.

    Source: sparse initialisation as in Dynamic Sparse Learning (arXiv 2402.02855), where every
    tensor has the same density; there each weight is drawn by a coin of its own.
    """
    ranks = {}
    for name, units in cost.units.items():
        rank = torch.empty(units, dtype=torch.float64)
        rank[_shuffled(units, f"{seed}/start/{name}")] = torch.arange(units, dtype=torch.float64)
        ranks[name] = (rank + 0.5) / units  # one threshold on these keeps the same share of all
    # Units are exchanged within their group: a whole module that is not there would never come.
    held = {name: (0,) if name in cost.whole else () for name in cost.units}
    return allocate(ranks, cost, budget, budget.macs, held=held)


def exchanged(
    scores: Mapping[str, Tensor],
    kept: Mapping[str, Sequence[int]],
    fraction: float,
    key: str,
) -> Units:
    """The kept units after some of them have made room for as many others, group by group.

    The lowest-scored ``ceil(fraction x kept)`` units go, of equal ones the last; fewer where fewer
    are removed at the moment. Those that come are drawn from what was removed until now, each as
    likely as the other, so what has just been dropped stays away until the next time.

    Args:
        scores: per group float [units], larger is more important.
        kept: per group the units that are alive, ascending.
        fraction: share of them to replace, in (0, 1].
        key: what the draw hangs on; equal keys draw alike, so there is no generator to save.
    """
    after = {}
    for name, alive in kept.items():
        values = scores[name].tolist()
        there = set(alive)
        removed = [unit for unit in range(len(values)) if unit not in there]
        count = min(ceil(fraction * len(alive)), len(removed))
        best = sorted(alive, key=lambda unit, values=values: -values[unit])  # type: ignore[misc]
        order = _shuffled(len(removed), f"{key}/{name}").tolist()
        grown = [removed[index] for index in order[:count]]
        after[name] = tuple(sorted(best[: len(alive) - count] + grown))
    return after


def newcomers(before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]]) -> Units:
    """Per group the units that are alive after and were not before, ascending."""
    return {name: tuple(sorted({*units} - {*before[name]})) for name, units in after.items()}


def _shuffled(count: int, key: str) -> Tensor:
    """0 to count - 1 in an order that hangs on the key alone."""
    return torch.randperm(count, generator=generator(key))
