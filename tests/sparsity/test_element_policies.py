"""When policies of elements rewire: contract checks for all, and each one's own schedule."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.dsl import DSL
from stream_prune.sparsity.policies.element_policy import ElementPolicy, annealed
from stream_prune.sparsity.policies.policy import Keep, Rewire
from stream_prune.sparsity.policies.rigl import RigL
from stream_prune.sparsity.policies.set_evolution import SET

POLICIES: dict[str, ElementPolicy[Any]] = {
    "dsl": DSL(anneal_steps=120, every=7),
    "dsl_accumulating": DSL(anneal_steps=120, every=7, accumulate=3, densities="erk"),
    "rigl": RigL(anneal_steps=120, every=7),
    "set_evolution": SET(every=7),
}


def play(policy: ElementPolicy[Any], steps: int) -> list[tuple[bool, Any, Keep | Rewire]]:
    """Per step: whether its gradient was asked for, and the state and decision after it."""
    state, story = policy.initial(), []
    for _ in range(steps):
        asked = policy.wants_gradient(state)
        state, decision = policy.step(state)
        story.append((asked, state, decision))
    return story


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 300))
def test_a_policy_grows_by_gradient_only_where_it_asked_for_it(name: str, steps: int) -> None:
    for asked, state, decision in play(POLICIES[name], steps):
        assert all(isinstance(value, (int, float)) for value in state)
        if isinstance(decision, Rewire):
            assert 0 < decision.fraction <= 1
            assert asked == (decision.grow == "gradient")


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 200), half=st.integers(0, 100))
def test_a_policy_is_a_function_of_its_state(name: str, steps: int, half: int) -> None:
    policy = POLICIES[name]
    story = play(policy, half + steps)
    assert story == play(policy, half + steps)
    state = story[half - 1][1] if half else policy.initial()
    copy = type(state)(**state._asdict())
    assert policy.step(copy) == policy.step(state)
    assert policy.wants_gradient(copy) == policy.wants_gradient(state)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_rewires_every_so_many_steps(name: str) -> None:
    story = play(POLICIES[name], 119)
    steps = [n for n, (_, _, decision) in enumerate(story, 1) if isinstance(decision, Rewire)]
    assert steps == list(range(7, 120, 7))


def fractions(policy: ElementPolicy[Any], steps: int) -> list[float]:
    return [d.fraction for _, _, d in play(policy, steps) if isinstance(d, Rewire)]


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10_000))
def test_the_cosine_falls_from_its_start_to_its_end_and_stays(a: float, b: float, n: int) -> None:
    start, end = max(a, b), min(a, b)
    assert annealed(start, end, 0, n) == pytest.approx(start, abs=1e-12)
    assert annealed(start, end, n, n) == annealed(start, end, 7 * n, n) == end
    assert annealed(start, end, n, 2 * n) == pytest.approx((start + end) / 2, abs=1e-12)
    wave = [annealed(start, end, n * k // 20, n) for k in range(21)]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(wave))


def test_dsl_goes_on_with_its_least_fraction_and_rigl_stops() -> None:
    dsl = fractions(DSL(anneal_steps=100, every=10, fraction=0.5, fraction_end=0.01), 200)
    assert len(dsl) == 20
    assert dsl[4] == pytest.approx(0.255)
    assert dsl[9:] == [0.01] * 11
    rigl = fractions(RigL(anneal_steps=100, every=10, fraction=0.3), 200)
    assert len(rigl) == 9
    assert rigl[4] == pytest.approx(0.15)
    assert fractions(SET(every=10, fraction=0.3), 200) == [0.3] * 20


def test_dsl_without_a_least_fraction_ends() -> None:
    assert len(fractions(DSL(anneal_steps=100, every=10, fraction_end=0.0), 200)) == 9


def test_dsl_adds_up_gradients_of_the_last_steps_before_a_rewiring() -> None:
    asked = [asked for asked, _, _ in play(DSL(anneal_steps=9, every=5, accumulate=2), 10)]
    assert asked == [False, False, False, True, True] * 2


@pytest.mark.parametrize(
    ("policy", "given_settings", "named"),
    [
        (DSL, {"anneal_steps": 0}, "dsl.anneal_steps = 0"),
        (DSL, {"anneal_steps": 9, "every": 0}, "dsl.every = 0"),
        (DSL, {"anneal_steps": 9, "fraction": 0.0}, "dsl.fraction = 0.0"),
        (DSL, {"anneal_steps": 9, "fraction_end": 0.6}, "dsl.fraction_end = 0.6"),
        (DSL, {"anneal_steps": 9, "densities": "flat"}, "dsl.densities = 'flat'"),
        (DSL, {"anneal_steps": 9, "every": 5, "accumulate": 6}, "dsl.accumulate = 6"),
        (RigL, {"anneal_steps": 0}, "rigl.anneal_steps = 0"),
        (RigL, {"anneal_steps": 9, "every": -1}, "rigl.every = -1"),
        (RigL, {"anneal_steps": 9, "fraction": 1.5}, "rigl.fraction = 1.5"),
        (SET, {"every": 0}, "set.every = 0"),
        (SET, {"fraction": 2.0}, "set.fraction = 2.0"),
    ],
)
def test_a_setting_out_of_range_is_named(
    policy: Any, given_settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        policy(**given_settings)
