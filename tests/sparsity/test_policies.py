"""When policies shrink and grow: contract checks for all, and each one's own story."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.ads import ADS, GROWN, SPARSE
from stream_prune.sparsity.policies.policy import Decision, Grow, Keep, Observation, Policy, Shrink
from stream_prune.sparsity.policies.static import Static

WINDOW = 100
BUDGET = 0.2
POLICIES = {
    "ads": ADS(warmup_rows=250, shrink_steps=3, settle_windows=2, regrow_windows=2, clock_rows=900),
    "static": Static(warmup_rows=250, shrink_steps=3),
}


def play(
    policy: Policy[Any], windows: list[tuple[int, bool]], state: Any = None
) -> list[tuple[Any, Decision]]:
    """Run windows of (rows, alarm) with a model that follows every decision exactly."""
    state, share, story = policy.initial(BUDGET) if state is None else state, 1.0, []
    for rows, alarm in windows:
        scored = policy.wants_scores(state, WINDOW)
        state, decision = policy.step(state, Observation(rows, share, BUDGET, scored, alarm))
        if isinstance(decision, Shrink):
            share = min(share, decision.density)
        elif isinstance(decision, Grow):
            share = max(share, decision.density)
        story.append((state, decision))
    return story


windows = st.lists(st.tuples(st.integers(1, WINDOW), st.booleans()), max_size=60)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=60, deadline=None)
@given(windows=windows)
def test_a_policy_shrinks_only_after_a_scored_window_and_never_below_the_budget(
    name: str, windows: list[tuple[int, bool]]
) -> None:
    policy, wanted = POLICIES[name], False
    state = policy.initial(BUDGET)
    for rows, alarm in windows:
        wanted = policy.wants_scores(state, WINDOW)
        state, decision = policy.step(state, Observation(rows, 0.5, BUDGET, wanted, alarm))
        assert policy.rate(state) > 0
        assert all(isinstance(value, (int, float)) for value in state)
        if isinstance(decision, Shrink):
            assert wanted
            assert decision.density >= BUDGET
            assert decision.settles == (decision.density == BUDGET)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=30, deadline=None)
@given(windows=windows)
def test_a_policy_is_a_function_of_state_and_observation(
    name: str, windows: list[tuple[int, bool]]
) -> None:
    policy, half = POLICIES[name], len(windows) // 2
    assert play(policy, windows) == play(policy, windows)
    state = policy.initial(BUDGET)
    for rows, alarm in windows[:half]:
        state, _ = policy.step(state, Observation(rows, 0.5, BUDGET, True, alarm))
    copy = type(state)(*state)
    seen = Observation(WINDOW, 0.5, BUDGET, True, True)
    assert policy.step(copy, seen) == policy.step(state, seen)


def test_ads_descends_in_equal_ratios_after_the_warm_up_and_raises_the_rate_in_step() -> None:
    story = play(POLICIES["ads"], [(WINDOW, False)] * 6)
    densities = [decision.density for _, decision in story if isinstance(decision, Shrink)]
    assert densities == pytest.approx([BUDGET ** (1 / 3), BUDGET ** (2 / 3), BUDGET])
    rates = [POLICIES["ads"].rate(state) for state, _ in story]
    assert rates == pytest.approx([1, 1, 3 ** (1 / 3), 3 ** (2 / 3), 3, 3])


def test_ads_answers_an_alarm_by_regrowing_for_a_while_once_it_has_settled() -> None:
    calm = [(WINDOW, False)]
    story = play(POLICIES["ads"], calm * 5 + [(WINDOW, True)] * 3 + calm * 3)
    kinds = [type(decision).__name__ for _, decision in story[5:]]
    assert kinds == ["Keep", "Keep", "Grow", "Keep", "Shrink", "Keep"]
    assert story[7][1] == Grow(0.4, "drift")
    assert story[7][0].phase == GROWN
    assert story[9][1] == Shrink(BUDGET, "regrown", settles=True)
    assert story[9][0].phase == SPARSE


def test_ads_regrows_by_the_clock_when_no_alarm_comes_and_not_without_a_clock() -> None:
    calm = [(WINDOW, False)] * 40
    grown = [decision for _, decision in play(POLICIES["ads"], calm) if isinstance(decision, Grow)]
    assert grown
    assert {decision.trigger for decision in grown} == {"clock"}
    without = play(ADS(warmup_rows=250), calm)
    assert not [decision for _, decision in without if isinstance(decision, Grow)]


def test_ads_waits_for_scores_where_a_window_gave_none() -> None:
    ads = ADS(warmup_rows=0, shrink_steps=1)
    state, decision = ads.step(ads.initial(BUDGET), Observation(10, 1.0, BUDGET, False, False))
    assert decision == Keep()
    state, decision = ads.step(state, Observation(10, 1.0, BUDGET, True, False))
    assert decision == Shrink(BUDGET, "step", settles=True)


def test_static_prunes_once_and_never_answers_an_alarm() -> None:
    story = play(Static(warmup_rows=250), [(WINDOW, True)] * 30)
    shrinks = [decision for _, decision in story if decision != Keep()]
    assert shrinks == [Shrink(BUDGET, "warm-up", settles=True)]


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
        (Static, {"warmup_rows": -1}),
        (Static, {"shrink_steps": 0}),
        (Static, {"rate_sparse": -1.0}),
    ],
)
def test_a_setting_out_of_range_is_named(policy: type, setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        policy(**setting)


def test_regrowing_to_no_more_than_the_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"regrow_density = 0.2: must be above budget.macs = 0.2"):
        ADS(regrow_density=0.2).initial(0.2)
