"""What every policy of units keeps to, whatever comes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_policies import BUDGET, POLICIES, SHADOWED, WINDOW, look, play

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.ads import ADS
from stream_prune.sparsity.policies.amgp import AMGP
from stream_prune.sparsity.policies.dsl_units import DSLUnits
from stream_prune.sparsity.policies.policy import Derive, Grow, Observation, Rewire, Shrink
from stream_prune.sparsity.policies.rate_on_drift import RateOnDrift
from stream_prune.sparsity.policies.static import Static
from stream_prune.sparsity.progress import Progress

observations = st.builds(
    Observation,
    rows=st.integers(1, WINDOW),
    share=st.just(1.0),
    budget=st.just(BUDGET),
    scored=st.booleans(),
    alarm=st.booleans(),
    severity=st.floats(-5, 5),
    worse=st.booleans(),
    loss=st.one_of(st.just(math.nan), st.floats(0.1, 1.0)),
)
windows = st.lists(observations, max_size=60)
EVERY = POLICIES | SHADOWED
every_policy = pytest.mark.parametrize("name", EVERY)


@every_policy
@settings(max_examples=60, deadline=None)
@given(windows=windows)
def test_a_policy_keeps_within_its_bounds_and_prunes_only_what_has_been_scored(
    name: str, windows: list[Observation]
) -> None:
    policy, budget = EVERY[name]
    state, share = policy.initial(budget), budget if policy.starts_sparse else 1.0
    for seen in windows:
        wanted = policy.wants_scores(state, WINDOW)
        seen = seen._replace(share=share, budget=budget, scored=seen.scored and wanted)
        state, decision = policy.step(state, seen)
        assert policy.rate(state) > 0
        if isinstance(decision, Shrink):
            assert seen.scored
            assert budget <= decision.density <= share
            assert decision.settles == (decision.density == budget)
            share = decision.density
        elif isinstance(decision, Grow):
            assert budget <= decision.density <= 1
            share = max(share, decision.density)
        elif isinstance(decision, Derive):
            assert seen.scored
            assert decision.density == budget
            share = decision.density
        elif isinstance(decision, Rewire):
            assert seen.scored
            assert 0 < decision.fraction <= 1
            assert decision.grow == "random"  # a unit that does not exist has no gradient


@every_policy
@settings(max_examples=30, deadline=None)
@given(windows=windows)
def test_a_policy_is_a_function_of_state_and_observation(
    name: str, windows: list[Observation]
) -> None:
    policy, budget = EVERY[name]
    assert play(policy, windows, budget) == play(policy, windows, budget)
    state = policy.initial(budget)
    for seen in windows:
        state, _ = policy.step(state, seen._replace(budget=budget))
    copy = type(state)(*state)
    seen = look(alarm=True, severity=1.0, worse=True, loss=0.5, budget=budget)
    assert policy.step(copy, seen) == policy.step(state, seen)
    assert policy.rate(copy) == policy.rate(state)
    assert policy.wants_scores(copy, WINDOW) == policy.wants_scores(state, WINDOW)


@every_policy
@settings(max_examples=30, deadline=None)
@given(windows=windows)
def test_a_policy_s_state_is_plain_numbers_that_survive_being_saved(
    name: str, windows: list[Observation]
) -> None:
    policy, budget = EVERY[name]
    story = play(policy, windows, budget)
    state = story[-1][0] if story else policy.initial(budget)
    assert all(type(value) in (int, float) and math.isfinite(value) for value in state)
    saving, loading = (Progress(policy, budget, ()) for _ in range(2))
    saving.policy_state = state
    loading.load_state_dict(saving.state_dict())
    assert loading.policy_state == state
    assert type(loading.policy_state) is type(state)


@every_policy
def test_a_policy_comes_back_to_its_budget_or_to_the_full_size_that_it_ends_at(name: str) -> None:
    policy, budget = EVERY[name]
    moved = [look(alarm=True, severity=9.0, worse=True, loss=0.9)] * 12
    story = play(policy, [look(loss=0.5)] * 12 + moved + [look(loss=0.5)] * 60, budget)
    shares = [budget if policy.starts_sparse else 1.0]
    for _, decision in story:
        sized = isinstance(decision, Shrink | Grow | Derive)
        shares.append(decision.density if sized else shares[-1])
    if isinstance(policy, AMGP):
        assert shares[-1] == 1
    else:
        assert budget in shares[-12:]
    grown = [decision for _, decision in story if isinstance(decision, Grow)]
    assert bool(grown) == isinstance(policy, ADS | AMGP)


@pytest.mark.parametrize(
    ("policy", "setting"),
    [
        (ADS, {"warmup_rows": -1}),
        (ADS, {"shrink_steps": 0}),
        (ADS, {"settle_windows": -1}),
        (ADS, {"regrow_density": 1.2}),
        (ADS, {"regrow_windows": 0}),
        (ADS, {"rate_sparse": 0.0}),
        (ADS, {"clock_rows": 0}),
        (ADS, {"severity_full": 0.0}),
        (ADS, {"steady": -0.1}),
        (ADS, {"patience_windows": -1}),
        (AMGP, {"total_rows": 50_000}),
        (AMGP, {"total_rows": 60_000, "warmup_rows": -1}),
        (AMGP, {"total_rows": 60_000, "cycles": 0}),
        (AMGP, {"total_rows": 60_000, "prune_share": 1.0}),
        (AMGP, {"total_rows": 60_000, "rate_sparse": 0.0}),
        (DSLUnits, {"anneal_rows": 0}),
        (DSLUnits, {"anneal_rows": 9, "every_rows": 0}),
        (DSLUnits, {"anneal_rows": 9, "fraction": 0.0}),
        (DSLUnits, {"anneal_rows": 9, "fraction_end": 0.6}),
        (RateOnDrift, {"raised": 0.0}),
        (RateOnDrift, {"raised_rows": 0}),
        (Static, {"warmup_rows": -1}),
        (Static, {"shrink_steps": 0}),
        (Static, {"rate_sparse": -1.0}),
    ],
)
def test_a_setting_out_of_range_is_named(policy: type, setting: dict[str, Any]) -> None:
    *_, (name, value) = setting.items()
    with pytest.raises(ConfigError, match=rf"\.{name} = {value}: must"):
        policy(**setting)


@pytest.mark.parametrize(
    ("name", "budget", "message"),
    [
        ("ads", 0.4, r"regrow_density = 0.4: must be above budget.macs = 0.4"),
        ("amgp", 1.0, r"budget.macs = 1.0: must be below 1 for amgp"),
        ("dsl_units", 1.0, r"budget.macs = 1.0: must be below 1 for dsl_units"),
        ("rate_on_drift", 0.2, r"budget.macs = 0.2: must be 1 for rate_on_drift"),
    ],
)
def test_a_budget_that_a_policy_can_do_nothing_with_is_refused(
    name: str, budget: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        EVERY[name][0].initial(budget)
