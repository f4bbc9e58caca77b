"""ADS's own story: when it descends, regrows, and waits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from unit_policies import ADAPTIVE, BUDGET, POLICIES, WINDOW, look, play

from stream_prune.sparsity.policies.ads import ADS, GROWN, SPARSE
from stream_prune.sparsity.policies.policy import Grow, Keep, Shrink
from stream_prune.sparsity.policies.static import Static

CALM = [look()]
ALARM = [look(alarm=True)]
PLAIN = ADS(**ADAPTIVE, clock_rows=900)


def kinds(story: list[tuple[Any, Any]]) -> list[str]:
    return [type(decision).__name__ for _, decision in story]


def grows(story: list[tuple[Any, Any]]) -> list[tuple[int, Grow]]:
    """Every regrow, with the number of its window."""
    return [(n, decision) for n, (_, decision) in enumerate(story) if isinstance(decision, Grow)]


def test_it_descends_in_equal_ratios_after_the_warm_up_and_raises_the_rate_in_step() -> None:
    story = play(PLAIN, CALM * 6)
    densities = [decision.density for _, decision in story if isinstance(decision, Shrink)]
    assert densities == pytest.approx([BUDGET ** (1 / 3), BUDGET ** (2 / 3), BUDGET])
    rates = [PLAIN.rate(state) for state, _ in story]
    assert rates == pytest.approx([1, 1, 3 ** (1 / 3), 3 ** (2 / 3), 3, 3])


def test_it_answers_an_alarm_by_regrowing_for_a_while_once_it_has_settled() -> None:
    story = play(PLAIN, CALM * 5 + ALARM + CALM * 5)
    assert kinds(story[5:]) == ["Keep", "Keep", "Grow", "Keep", "Shrink", "Keep"]
    assert story[7][1] == Grow(0.4, "drift")
    assert story[7][0].phase == GROWN
    assert story[9][1] == Shrink(BUDGET, "regrown", settles=True)
    assert story[9][0].phase == SPARSE


@pytest.mark.parametrize("calm", [3, 4, 5])
def test_an_alarm_on_the_way_down_is_answered_once_it_has_settled(calm: int) -> None:
    story = play(PLAIN, CALM * calm + ALARM + CALM * 5)
    assert grows(story) == [(7, Grow(0.4, "drift"))]


def test_an_alarm_while_it_is_wide_does_not_keep_it_wide() -> None:
    assert kinds(play(PLAIN, CALM * 8 + ALARM * 4))[8:] == ["Grow", "Keep", "Shrink", "Keep"]


def test_it_regrows_by_the_clock_when_no_alarm_comes_and_not_without_a_clock() -> None:
    regrown = grows(play(PLAIN, CALM * 40))
    assert regrown
    assert {decision.trigger for _, decision in regrown} == {"clock"}
    assert not grows(play(ADS(warmup_rows=250), CALM * 40))


def test_it_waits_for_scores_where_a_window_gave_none() -> None:
    ads = ADS(warmup_rows=0, shrink_steps=1)
    state, decision = ads.step(ads.initial(BUDGET), look(10, scored=False))
    assert decision == Keep()
    _, decision = ads.step(state, look(10))
    assert decision == Shrink(BUDGET, "warm-up", settles=True)


@pytest.mark.parametrize(
    ("severity", "density"), [(1.0, 0.25), (-2.0, 0.3), (4.0, 0.4), (40.0, 0.4)]
)
def test_a_worse_drift_brings_back_more_where_severity_decides(
    severity: float, density: float
) -> None:
    ads = ADS(**ADAPTIVE | {"severity_full": 4.0})
    story = play(ads, CALM * 8 + [look(alarm=True, severity=severity)])
    assert story[-1][1] == Grow(pytest.approx(density), "drift")  # type: ignore[arg-type]
    story = play(PLAIN, CALM * 8 + [look(alarm=True, severity=severity)])
    assert story[-1][1] == Grow(0.4, "drift")


def test_a_drift_too_mild_to_bring_anything_back_leaves_a_settled_plan() -> None:
    ads = ADS(**ADAPTIVE | {"severity_full": 4.0, "regrow_steps": 3})
    story = play(ads, CALM * 8 + [look(alarm=True, severity=0.0)] + CALM * 4)
    assert story[8][1] == Grow(BUDGET, "drift")
    assert [d for _, d in story[9:] if d != Keep()] == [Shrink(BUDGET, "regrown", settles=True)]


def test_it_regrows_where_a_reference_is_better_but_ever_less_often_while_that_does_not_help() -> (
    None
):
    ads = ADS(**ADAPTIVE)
    story = play(ads, CALM * 6 + [look(worse=True)] * 200)
    moments = [n for n, _ in grows(story)]
    assert {decision.trigger for _, decision in grows(story)} == {"guardrail"}
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    # settled windows (3, doubled each time) and the two that it stays wide
    assert gaps == [3 * 2**n + 2 for n in range(1, len(gaps) + 1)]
    assert len(gaps) == 5


def test_relief_or_a_drift_ends_the_pause_before_the_next_regrow_for_a_better_reference() -> None:
    ads = ADS(**ADAPTIVE)
    worse = [look(worse=True)]
    relapsed = play(ads, CALM * 6 + worse * 3)[-1][0]
    assert relapsed.relapses == 1
    relieved = play(ads, CALM * 6 + worse * 3 + CALM * 14)
    assert relieved[-1][0].relapses == 0
    moved = play(ads, CALM * 6 + worse * 3 + CALM * 6 + ALARM)
    assert moved[-1][1] == Grow(0.4, "drift")
    assert moved[-1][0].relapses == 0


def test_a_prune_waits_for_a_steady_loss_but_not_for_ever() -> None:
    ready = ADS(**ADAPTIVE, steady=0.02, patience_windows=6)
    falling = [look(loss=0.7 * 0.9**n) for n in range(12)]
    shrinks = [n for n, kind in enumerate(kinds(play(ready, falling))) if kind == "Shrink"]
    assert shrinks == [2 + 6]  # due in the third window, and six more
    steady = kinds(play(ready, [look(loss=0.5)] * 12))
    assert steady == kinds(play(ADS(**ADAPTIVE), CALM * 12))


def test_after_a_prune_that_hurt_the_next_one_waits_until_the_loss_is_back() -> None:
    ready = ADS(**ADAPTIVE, steady=0.02, patience_windows=50)
    hurt = [look(loss=0.5)] * 3 + [look(loss=0.6)] * 4 + [look(loss=0.5)] * 12
    shrinks = [n for n, kind in enumerate(kinds(play(ready, hurt))) if kind == "Shrink"]
    assert shrinks[0] == 2
    assert shrinks[1] > 7
    assert shrinks[2] == shrinks[1] + 1


def test_without_labels_a_prune_does_not_wait_for_a_loss() -> None:
    ready = ADS(**ADAPTIVE, steady=0.02)
    assert kinds(play(ready, CALM * 12)) == kinds(play(ADS(**ADAPTIVE), CALM * 12))


def test_static_prunes_once_and_never_answers_an_alarm() -> None:
    story = play(Static(warmup_rows=250), [look(alarm=True, worse=True)] * 30)
    shrinks = [decision for _, decision in story if decision != Keep()]
    assert shrinks == [Shrink(BUDGET, "warm-up", settles=True)]


def test_units_are_scored_in_no_window_that_cannot_end_in_a_prune() -> None:
    policy, _ = POLICIES["ads"]
    state = policy.initial(BUDGET)
    assert not policy.wants_scores(state, WINDOW)
    assert policy.wants_scores(state._replace(rows=150), WINDOW)
    settled = play(policy, CALM * 6)[-1][0]
    assert settled.phase == SPARSE
    assert not policy.wants_scores(settled, WINDOW)
