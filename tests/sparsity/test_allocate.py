"""Which units a budget keeps."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plugin_models import SmallDLRM

from stream_prune.sparsity.allocate import allocate, least_share, normalise
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.prove import prove

COST = prove(SmallDLRM(width=64), Example((torch.randn(4, 5), torch.randn(4, 3, 4)))).cost


def random_scores(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: normalise(torch.rand(units, generator=generator, dtype=torch.float64) ** 3)
        for name, units in COST.units.items()
    }


seeds = st.integers(0, 2**31)
budgets = st.builds(
    Budget,
    macs=st.floats(0.05, 1.0),
    min_units=st.sampled_from([1, 4, 8]),
    round_to=st.sampled_from([1, 4, 8]),
)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, budget=budgets)
def test_a_plan_is_never_above_the_budget_and_within_one_rounding_step_below(
    seed: int, budget: Budget
) -> None:
    assume(least_share(COST, budget) <= budget.macs)
    kept = allocate(random_scores(seed), COST, budget, budget.macs)
    widths = {name: len(units) for name, units in kept.items()}
    assert COST.share(widths) <= budget.macs
    for name, units in COST.units.items():
        ladder = budget.ladder(units)
        assert widths[name] in ladder
        if widths[name] < units:
            wider = {**widths, name: ladder[ladder.index(widths[name]) + 1]}
            assert COST.share(wider) > budget.macs, name


@settings(max_examples=30, deadline=None)
@given(seed=seeds, budget=budgets)
def test_no_removed_unit_of_a_group_scores_above_a_kept_one(seed: int, budget: Budget) -> None:
    scores = random_scores(seed)
    for name, kept in allocate(scores, COST, budget, budget.macs).items():
        removed = sorted(set(range(COST.units[name])) - set(kept))
        if removed:
            assert scores[name][removed].max() <= scores[name][list(kept)].min()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, low=st.floats(0.1, 0.3), high=st.floats(0.4, 0.9))
def test_growing_adds_to_what_is_held_and_shrinking_takes_from_it(
    seed: int, low: float, high: float
) -> None:
    budget, scores = Budget(macs=low), random_scores(seed)
    small = allocate(scores, COST, budget, low)
    grown = allocate(random_scores(seed + 1), COST, budget, high, held=small)
    again = allocate(random_scores(seed + 2), COST, budget, low, eligible=grown)
    for name in COST.units:
        assert set(small[name]) <= set(grown[name])
        back = set(again[name]) - set(grown[name])
        assert not back or set(grown[name]) <= set(again[name])  # only where the others ran out
    share = COST.share({name: len(kept) for name, kept in grown.items()})
    assert low < share <= high


def test_equal_scores_keep_the_lower_indices() -> None:
    scores = {name: torch.ones(units) for name, units in COST.units.items()}
    for kept in allocate(scores, COST, Budget(macs=0.3), 0.3).values():
        assert kept == tuple(range(len(kept)))
