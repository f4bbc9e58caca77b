from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.produce.options import Bursts, Faults
from beam_jobs.produce.pace import due_by_rate, due_by_speed
from beam_jobs.produce.plan import CORRUPT, DUPLICATE, GOOD, INVALID, LATE, Planner

WINDOW, SLACK = 1_000, 300
FAULTS = Faults(duplicates=0.05, disorder=0.1, late=0.03, corrupt=0.02, invalid=0.02)


def judge(messages: list[tuple[int, int, int, int]]) -> list[int]:
    """Row by row, as slowly as it can be said: (row, partition, time, bad) -> kind."""
    greatest: dict[int, int] = {}
    seen: set[int] = set()
    kinds = []
    for row, partition, time, bad in messages:
        if bad:
            kinds.append(bad)
            continue
        before = greatest.get(partition)
        greatest[partition] = max(time, time if before is None else before)
        if before is not None and before - SLACK >= (time // WINDOW + 1) * WINDOW:
            kinds.append(LATE)
        elif row in seen:
            kinds.append(DUPLICATE)
        else:
            seen.add(row)
            kinds.append(GOOD)
    return kinds


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 400))
def test_every_message_is_expected_to_become_what_the_rule_of_the_windows_says(
    seed: int, partitions: int, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 20_000, 2 * rows))
    times += rng.integers(0, 200, 2 * rows)  # the log itself is not quite in order
    partition = rng.integers(0, partitions, 2 * rows)
    planner = Planner(FAULTS, WINDOW, SLACK, partitions, seed)
    messages, kinds = [], []
    for stretch in (slice(0, rows), slice(rows, None)):
        plan = planner.plan(times[stretch], partition[stretch])
        first = stretch.start
        for row, p, kind in zip(plan.row, plan.partition, plan.kind, strict=True):
            bad = int(kind) if kind in (CORRUPT, INVALID) else 0
            assert p == partition[first + row]
            messages.append((first + int(row), int(p), int(times[first + row]), bad))
            kinds.append(int(kind))
    assert judge(messages) == kinds
    assert {row for row, *_ in messages} == set(range(2 * rows))


def test_the_faults_come_in_the_shares_that_were_asked_for() -> None:
    rows = 50_000
    times = np.arange(rows) * 2
    partition = np.arange(rows) % 4
    plan = Planner(FAULTS, WINDOW, SLACK, 4, seed=7).plan(times, partition)
    share = {kind: np.mean(plan.kind == kind) for kind in range(5)}
    assert share[DUPLICATE] == pytest.approx(FAULTS.duplicates, abs=0.01)
    assert share[LATE] == pytest.approx(FAULTS.late, abs=0.01)
    assert share[CORRUPT] == pytest.approx(FAULTS.corrupt, abs=0.01)
    assert share[INVALID] == pytest.approx(FAULTS.invalid, abs=0.01)
    assert np.mean(plan.displaced) == pytest.approx(FAULTS.disorder + FAULTS.late, abs=0.02)
    behind = np.maximum.accumulate(times[plan.row]) - times[plan.row]
    in_time = plan.displaced & (plan.kind == GOOD)
    assert 0 < behind[in_time].max() <= SLACK


def test_a_plan_without_faults_sends_the_log_as_it_is() -> None:
    times = np.arange(1000) * 10
    plan = Planner(Faults(), WINDOW, SLACK, 2, seed=1).plan(times, np.arange(1000) % 2)
    assert plan.row.tolist() == list(range(1000))
    assert not plan.kind.any()
    assert not plan.displaced.any()


def test_the_same_seed_plans_the_same() -> None:
    times, partition = np.arange(3000) * 5, np.arange(3000) % 3
    one, two, other = (
        Planner(FAULTS, WINDOW, SLACK, 3, seed).plan(times, partition) for seed in (1, 1, 2)
    )
    assert one.row.tolist() == two.row.tolist()
    assert one.row.tolist() != other.row.tolist()


def test_bursts_send_more_for_a_while_and_the_rate_after_it() -> None:
    due = due_by_rate(0, 500, 10.0, Bursts(factor=5, every_s=10, length_s=2))
    counts = np.bincount(due.astype(int))[:20]
    assert counts[:2].tolist() == counts[10:12].tolist() == [50, 50]
    assert counts[2:10].tolist() == counts[12:20].tolist() == [10] * 8
    later = due_by_rate(300, 200, 10.0, Bursts(factor=5, every_s=10, length_s=2))
    assert later.tolist() == due[300:].tolist()


def test_at_a_speed_the_event_times_set_the_pace() -> None:
    due = due_by_speed(np.array([60_000, 61_000, 60_500, 120_000]), 60_000, speed=10.0)
    assert due.tolist() == [0.0, 0.1, 0.1, 6.0]
