"""What a plan is worth: how much of the model's importance it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from stream_prune.sparsity.cost import CostModel


def worth(
    scores: Mapping[str, Tensor], kept: Mapping[str, Sequence[int]], cost: CostModel
) -> float:
    """The importance that a plan keeps, counted in groups.

    A group counts as the share of its units' scores that is kept. A whole module counts as its own
    score (about 1 among those beside it) times the mean of that over the groups inside of it, and
    as nothing if it is absent. So a module that takes many MACs and says little loses against what
    the same MACs keep elsewhere. The project's own: papers leave open how a whole interaction is
    weighed against hidden units.

    Args:
        scores: per group float [units], larger is more important.
        kept: per group the units that the plan keeps.
        cost: knows which groups are whole modules, and what is inside of them.
    """
    inner: dict[str, list[float]] = {name: [] for name in cost.whole}
    total = 0.0
    for name in cost.units:
        if name in inner:
            continue
        every = float(scores[name].sum())
        there = list(kept[name])
        share = float(scores[name][there].sum()) / every if every > 0 else 1.0
        if name in cost.within:
            inner[cost.within[name]].append(share)
        else:
            total += share
    for name, shares in inner.items():
        if kept[name]:
            total += float(scores[name][0]) * (sum(shares) / len(shares) if shares else 1.0)
    return total
