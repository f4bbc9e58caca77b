from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_builder import commit, create, write

from stream_prune.minibatch.commit import BatchRef, Commit
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.reader import windows

DEADLINE_S = 20


def ends(log, **options):
    return [window.end for window in windows(log, **options)]


def test_a_window_waits_for_every_shard(tmp_path):
    log = create(tmp_path / "log", shards=2)
    a, b = log.writer(0), log.writer(1)
    commit(a, 2000)
    commit(a, 3000)
    assert ends(log) == []
    commit(b, 2000)
    assert ends(log) == [2000]
    commit(b, 3000)
    assert ends(log) == [2000, 3000]


def test_shards_may_start_and_end_at_different_windows(tmp_path):
    log = create(tmp_path / "log", shards=2)
    a, b = log.writer(0), log.writer(1)
    commit(a, 2000)
    commit(a, 3000, end=True)
    assert ends(log) == []
    write(b, 3000)
    assert ends(log) == [2000, 3000]
    commit(b, 4000)
    commit(b, 5000, end=True)
    found = list(windows(log))
    assert [window.end for window in found] == [2000, 3000, 4000, 5000]
    assert [window.end_of_log for window in found] == [False, False, False, True]


def test_reading_after_a_window_gives_what_follows_it(tmp_path):
    log = create(tmp_path / "log")
    writer = log.writer(0)
    for end in (2000, 3000, 4000):
        commit(writer, end, end=end == 4000)
    whole = list(windows(log))
    assert list(windows(log, after=2000)) == whole[1:]
    assert list(windows(log, after=4000, follow=True)) == []


def test_following_ends_when_it_is_asked_to(tmp_path):
    log = create(tmp_path / "log")
    commit(log.writer(0), 2000)
    answers = iter([False, False, True])
    assert ends(log, follow=True, poll_s=0, stop=lambda: next(answers)) == [2000]


class MemoryLog:
    """Commits in memory, revealed one at a time, in any interleaving of the shards."""

    def __init__(self, sequences):
        self.header = LogHeader("f", {}, 1000, len(sequences))
        self.sequences = sequences
        self.shown = [0] * len(sequences)

    def trimmed(self):
        return 0

    def commits(self, shard, start=0):
        return list(enumerate(self.sequences[shard][: self.shown[shard]]))[start:]

    def seek(self, shard, window_end):
        return max((n for n, c in self.commits(shard) if c.window_end <= window_end), default=0)


@st.composite
def logs(draw):
    sequences = []
    for shard in range(draw(st.integers(1, 3))):
        first, length = draw(st.integers(1, 4)), draw(st.integers(1, 5))
        sequences.append(
            [
                Commit(
                    1000 * (first + i),
                    shard,
                    1,
                    "f",
                    (BatchRef(0, draw(st.integers(1, 9)), "d"),),
                    end=i == length - 1,
                )
                for i in range(length)
            ]
        )
    return MemoryLog(sequences)


@given(logs(), st.data())
def test_what_is_read_does_not_depend_on_when_it_was_written(log, data):
    def reveal():
        open_shards = [s for s, c in enumerate(log.sequences) if log.shown[s] < len(c)]
        if open_shards:
            log.shown[data.draw(st.sampled_from(open_shards))] += 1
        return False

    followed = list(windows(log, follow=True, poll_s=0, stop=reveal))
    log.shown = [len(c) for c in log.sequences]
    assert followed == list(windows(log))
    committed = {c.window_end for sequence in log.sequences for c in sequence}
    assert [w.end for w in followed] == sorted(committed)
    assert [w.end_of_log for w in followed] == [False] * (len(followed) - 1) + [True]
    for window in followed:
        of_window = [c for s in log.sequences for c in s if c.window_end == window.end]
        assert window.rows == sum(c.rows for c in of_window)
        assert [name.shard for name, _ in window.batches] == [c.shard for c in of_window]
    for end in sorted(committed):
        assert list(windows(log, after=end)) == [w for w in followed if w.end > end]


@pytest.mark.parametrize("shards", [1, 3])
def test_an_empty_log_that_ended_has_its_one_empty_window(tmp_path, shards):
    log = create(tmp_path / "log", shards=shards)
    for shard in range(shards):
        commit(log.writer(shard), 1000, end=True)
    (window,) = windows(log, follow=True)
    assert window.rows == 0
    assert window.end_of_log
