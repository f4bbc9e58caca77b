from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_builder import commit, create

from stream_prune.errors import RunError
from stream_prune.minibatch.reader import CursorState, Learn, Score, Window, two_cursors


def window(end, length=10, end_of_log=False):
    return Window(end - length, end, (), 0, end_of_log)


@st.composite
def streams(draw):
    """Consecutive windows, some left out, of a log that has ended or not; and a label delay."""
    length = draw(st.integers(1, 20))
    numbers = draw(st.lists(st.integers(1, 40), unique=True, max_size=15).map(sorted))
    found = [window(number * length, length) for number in numbers]
    if found and draw(st.booleans()):
        found[-1] = replace(found[-1], end_of_log=True)
    return found, draw(st.integers(0, 30 * length))


@given(streams())
def test_nothing_is_learned_before_it_is_known(stream):
    found, delay = stream
    learned = []
    for step in two_cursors(found, delay):
        if isinstance(step, Learn):
            learned.append(step.window)
        else:
            assert all(v.end + delay <= step.window.start for v in learned)


@given(streams())
def test_nothing_that_is_known_is_left_unlearned_when_scoring(stream):
    found, delay = stream
    scored, learned = [], []
    for step in two_cursors(found, delay):
        if isinstance(step, Learn):
            learned.append(step.window)
        else:
            due = [v for v in scored if v.end + delay <= step.window.start]
            assert learned == due
            scored.append(step.window)


@given(streams())
def test_every_window_is_scored_once_and_then_learned_once_in_order(stream):
    found, delay = stream
    steps = list(two_cursors(found, delay))
    scored = [step.window for step in steps if isinstance(step, Score)]
    learned = [step.window for step in steps if isinstance(step, Learn)]
    assert scored == found
    assert learned == found[: len(learned)]
    for one in learned:
        assert steps.index(Score(one)) < steps.index(Learn(one))
    if found and found[-1].end_of_log:
        assert learned == found


@given(streams())
def test_from_every_state_the_remaining_steps_are_the_same(stream):
    found, delay = stream
    steps = list(two_cursors(found, delay))
    state = CursorState()
    for done in range(len(steps) + 1):
        rest = [w for w in found if w.end > state.scored_until]
        assert list(two_cursors(rest, delay, state)) == steps[done:]
        between = [w for w in found if state.learned_until < w.end <= state.scored_until]
        assert list(state.pending) == between
        if done < len(steps):
            state = state.after(steps[done])


def test_without_a_delay_a_window_is_learned_before_the_next_is_scored():
    a, b = window(10), window(20)
    assert list(two_cursors([a, b], 0)) == [Score(a), Learn(a), Score(b)]


def test_a_window_whose_label_is_known_one_ms_too_late_waits():
    a, b, c = window(10), window(20), window(30)
    steps = list(two_cursors([a, b, c], 10))
    assert steps == [Score(a), Score(b), Learn(a), Score(c)]
    assert list(two_cursors([a, b, c], 11)) == [Score(a), Score(b), Score(c)]


def test_a_pause_of_the_log_is_no_end_of_it():
    a, b = window(10), window(20, end_of_log=True)
    state = CursorState().after(Score(a))
    assert list(two_cursors([], 5, state)) == []
    assert list(two_cursors([b], 5, state)) == [Score(b), Learn(a), Learn(b)]


def test_a_step_out_of_turn_is_refused():
    a, b = window(10), window(20)
    state = CursorState().after(Score(a)).after(Score(b))
    for wrong in (Score(a), Score(b), Learn(b)):
        with pytest.raises(ValueError, match=f"window {wrong.window.end} is"):
            state.after(wrong)
    assert state.after(Learn(a)).after(Learn(b)).pending == ()


def test_a_checkpoint_of_another_log_is_refused(tmp_path):
    log = create(tmp_path / "log")
    commit(log.writer(0), 2000)
    for wrong in (1500, 3000):
        with pytest.raises(RunError, match=f"the checkpoint has scored up to {wrong}"):
            CursorState.restore(log, scored_until=wrong, learned_until=0)
