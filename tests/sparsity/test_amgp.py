"""AMGP's own story: narrow and full in turns, and full at the end."""

from __future__ import annotations

from itertools import groupby

import pytest
from test_controller import Stream, make, run
from unit_policies import BUDGET, look, play

from stream_prune.sparsity import AMGP, Budget
from stream_prune.sparsity.policies.policy import Grow, Keep, Shrink

YEAR = AMGP(total_rows=3000, warmup_rows=600, cycles=3, prune_share=0.5)


def test_each_cycle_is_learned_narrow_first_and_then_full() -> None:
    story = play(YEAR, [look()] * 40)
    moments = [(n * 100, decision) for n, (_, decision) in enumerate(story, 1)]
    assert [(rows, decision) for rows, decision in moments if decision != Keep()] == [
        (600, Shrink(BUDGET, "warm-up", settles=True)),
        (1000, Grow(1.0, "clock")),
        (1400, Shrink(BUDGET, "clock", settles=True)),
        (1800, Grow(1.0, "clock")),
        (2200, Shrink(BUDGET, "clock", settles=True)),
        (2600, Grow(1.0, "clock")),
    ]
    rates = [rate for rate, _ in groupby(YEAR.rate(state) for state, _ in story)]
    assert rates == [1, 2, 1, 2, 1, 2, 1]


def test_it_ends_full_where_a_guardrail_has_kept_it_from_being_asked() -> None:
    pruned = YEAR.initial(BUDGET)._replace(rows=2300, pruned=1)
    assert YEAR.step(pruned, look())[1] == Keep()
    assert YEAR.step(pruned, look(seen=2900))[1] == Grow(1.0, "clock")


def test_a_share_of_the_cycle_decides_how_long_it_is_narrow() -> None:
    for share, narrow in ((0.25, 6), (0.5, 12), (0.75, 18)):
        amgp = AMGP(total_rows=3000, warmup_rows=600, cycles=3, prune_share=share)
        states = [state for state, _ in play(amgp, [look()] * 40)]
        assert sum(state.pruned for state in states) == narrow


def test_the_shorter_part_of_a_cycle_is_told() -> None:
    assert AMGP(total_rows=3000, warmup_rows=600, cycles=3, prune_share=0.25).part_rows == 200
    assert AMGP(total_rows=3000, warmup_rows=600, cycles=3, prune_share=0.75).part_rows == 200


def test_a_run_trains_with_fewer_macs_and_ends_with_the_full_model() -> None:
    amgp = AMGP(total_rows=3000, warmup_rows=600, cycles=2)
    controller, model, optimizer = make(amgp, budget=Budget(macs=0.3, min_units=4, round_to=4))
    full, macs, stream = controller.dense_cost.macs_inference, 0, Stream()
    kinds = []
    for _ in range(60):
        kinds += [event.kind for event in run(controller, model, optimizer, stream, 1)]
        macs += controller.cost().macs_inference
    assert kinds == ["shrink", "grow"] * 2
    assert controller.cost() == controller.dense_cost
    assert controller.rate == 1.0
    # two fifths of the run at under a third of the cost
    assert macs / 60 / full == pytest.approx(1 - 0.4 * 0.7, abs=0.05)
