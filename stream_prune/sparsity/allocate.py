"""Which units to keep: one global threshold on normalised scores, under a budget of MACs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.cost import CostModel
from stream_prune.sparsity.whole import ensembles
from stream_prune.sparsity.worth import worth

_HELD = float("inf")
_LAST = float("-inf")


def normalise(scores: Tensor) -> Tensor:
    """Scores divided by their mean, so that groups can be compared; all equal if that is zero."""
    mean = scores.double().mean()
    if not torch.isfinite(mean):
        raise ValueError("scores must be finite")
    return scores.double() / mean if mean > 0 else torch.ones_like(scores, dtype=torch.float64)


def allocate(
    scores: Mapping[str, Tensor],
    cost: CostModel,
    budget: Budget,
    share: float,
    *,
    eligible: Mapping[str, Sequence[int]] | None = None,
    held: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Choose the kept units of every group.

    The lowest threshold is taken at which the units above it, in rounded widths, cost no more than
    ``share``; then blocks are added back, the best-scored first, until no block of any group fits.
    So the result is never above the share and within one rounding step below it. Ties go to the
    lower index. A share within the budget's MACs is a settled plan's: it keeps to the budget's
    parameters as well. Where the eligible units of a group run out, blocks of its other units fill
    the last room, after all others: an earlier prune may have taken too much from this group.

    Whole modules cost unequally much, so no threshold is put on them. One after the other is left
    out, each time the one without which the plan is worth most (:mod:`.worth`), as long as it is
    worth more than with it: as long as its MACs do more elsewhere. Of those that one module holds
    one stays. Groups inside of an absent one are at their least width.

    Args:
        scores: per group float [units], larger is more important, comparable between groups.
        cost: the cost model; its groups are the ones that are allocated.
        budget: minimum and rounded widths.
        share: wanted MACs as a share of the full model's.
        eligible: per group the units to choose from first (default: all of them).
        held: per group units that stay in any case (default: none).

    Returns:
        Per group the kept units, ascending. When even the narrowest allowed widths cost more than
        ``share``, these are returned: see :func:`least_share`.
    """
    stay = {name for name in cost.whole if held is not None and held[name]}
    gone = {name for name in cost.whole if eligible is not None and not eligible[name]} - stay

    def without(names: frozenset[str]) -> _Plan:
        units = _units(scores, cost, budget, share, eligible, held, names)
        widths = {name: len(kept) for name, kept in units.items()}
        if not _fits(cost, budget, share, widths):
            return _Plan((False, -cost.share(widths)), names, units)
        return _Plan((True, worth(scores, units, cost)), names, units)

    best = without(frozenset(gone))
    while True:
        fewer = [
            without(best.absent | {name})
            for names in ensembles(cost.whole)
            for name in names
            if name not in best.absent | stay and len(best.absent & {*names}) < len(names) - 1
        ]
        better = max(fewer, key=lambda plan: plan.rank, default=best)
        if better.rank <= best.rank:
            return best.units
        best = better


class _Plan(NamedTuple):
    """A plan without some whole modules; of two the one of higher rank is better."""

    rank: tuple[bool, float]
    absent: frozenset[str]
    units: dict[str, tuple[int, ...]]


def _units(
    scores: Mapping[str, Tensor],
    cost: CostModel,
    budget: Budget,
    share: float,
    eligible: Mapping[str, Sequence[int]] | None,
    held: Mapping[str, Sequence[int]] | None,
    absent: frozenset[str],
) -> dict[str, tuple[int, ...]]:
    """The kept units of every group without some whole modules; arguments of :func:`allocate`."""
    order: dict[str, list[int]] = {}
    ranked: dict[str, list[float]] = {}
    ladders: dict[str, tuple[int, ...]] = {}
    for name, units in cost.units.items():
        values = scores[name].double().clone()
        last = set(range(units)).difference(eligible[name]) if eligible is not None else set()
        stay = list(held[name]) if held is not None else []
        values[torch.tensor(stay, dtype=torch.int64)] = _HELD
        listed = values.tolist()
        order[name] = sorted(range(units), key=lambda unit: (unit in last, -listed[unit]))
        ranked[name] = [_LAST if unit in last else listed[unit] for unit in order[name]]
        ladders[name] = _ladder(budget, units, len(stay))
        if name in cost.whole:
            ladders[name] = (0 if name in absent else 1,)
        elif cost.within.get(name) in absent:
            ladders[name] = ladders[name][:1]

    def fits(widths: Mapping[str, int]) -> bool:
        return _fits(cost, budget, share, widths)

    steps = _at_threshold(ranked, ladders, fits)
    _fill(steps, ranked, ladders, fits)
    return {name: tuple(sorted(order[name][: ladders[name][step]])) for name, step in steps.items()}


def _fits(cost: CostModel, budget: Budget, share: float, widths: Mapping[str, int]) -> bool:
    return cost.share(widths) <= share and (
        share > budget.macs or holds_parameters(cost, budget, widths)
    )


def holds_parameters(cost: CostModel, budget: Budget, widths: Mapping[str, int]) -> bool:
    """Whether a plan of these widths keeps to the budget's parameters."""
    return budget.parameters is None or cost.parameter_share(widths) <= budget.parameters


def least_share(cost: CostModel, budget: Budget) -> float:
    """The smallest share of MACs that the minimum widths allow."""
    return cost.share(least_widths(cost, budget))


def least_widths(cost: CostModel, budget: Budget) -> dict[str, int]:
    """The minimum width of every group; of the modules that one module holds the dearest stays."""
    widths = {name: budget.ladder(units)[0] for name, units in cost.units.items()}
    widths |= dict.fromkeys(cost.whole, 1)
    for names in ensembles(cost.whole):
        dearest = min(names, key=lambda name: cost.macs({**widths, name: 0}))
        widths |= dict.fromkeys(set(names) - {dearest}, 0)
    return widths


def _ladder(budget: Budget, units: int, least: int) -> tuple[int, ...]:
    """The allowed widths of a group from what is held on."""
    return tuple(width for width in budget.ladder(units) if width >= least)


def _at_threshold(
    ranked: Mapping[str, list[float]],
    ladders: Mapping[str, tuple[int, ...]],
    fits: Callable[[Mapping[str, int]], bool],
) -> dict[str, int]:
    """Bisect the threshold; per group the step of its ladder just below it."""
    thresholds = sorted({score for scores in ranked.values() for score in scores} - {_LAST})
    rising = {name: [-score for score in scores] for name, scores in ranked.items()}
    low, high = 0, len(thresholds)  # thresholds[high:] keeps least; high == len keeps minimum
    while low < high:
        middle = (low + high) // 2
        steps = _steps(rising, ladders, thresholds[middle])
        if fits(_widths(ladders, steps)):
            high = middle
        else:
            low = middle + 1
    if low == len(thresholds):
        return dict.fromkeys(ladders, 0)
    return _steps(rising, ladders, thresholds[low])


def _steps(
    rising: Mapping[str, list[float]], ladders: Mapping[str, tuple[int, ...]], threshold: float
) -> dict[str, int]:
    """Per group the widest step whose units all score the threshold or more (the least at least).

    ``rising`` are the ranked scores with their signs turned.
    """
    steps = {}
    for name, ladder in ladders.items():
        above = bisect_right(rising[name], -threshold)
        steps[name] = max(0, bisect_right(ladder, above) - 1)
    return steps


def _fill(
    steps: dict[str, int],
    ranked: Mapping[str, list[float]],
    ladders: Mapping[str, tuple[int, ...]],
    fits: Callable[[Mapping[str, int]], bool],
) -> None:
    """Add blocks back in place, the one with the best mean score first, while one fits."""
    growing = list(ladders)
    while growing:
        best: tuple[float, str] | None = None
        fitting = []
        for name in growing:
            ladder = ladders[name]
            if steps[name] + 1 == len(ladder):
                continue
            wider = {**steps, name: steps[name] + 1}
            if not fits(_widths(ladders, wider)):
                continue  # for good: what the others add only makes it dearer
            fitting.append(name)
            block = ranked[name][ladder[steps[name]] : ladder[steps[name] + 1]]
            value = sum(block) / len(block)
            if best is None or value > best[0]:
                best = (value, name)
        if best is not None:
            steps[best[1]] += 1
        growing = fitting


def _widths(ladders: Mapping[str, tuple[int, ...]], steps: Mapping[str, int]) -> dict[str, int]:
    return {name: ladders[name][step] for name, step in steps.items()}
