"""What every mini-batch log promises, seen on a folder and on a real broker."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest
from log_builder import LENGTH, SPEC, commit, record, rows, write

from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.arrow_file import arrow_file
from stream_prune.minibatch.batch import BatchName, MiniBatch
from stream_prune.minibatch.commit import BatchRef, Commit
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.log import StaleWriter, last_commits
from stream_prune.minibatch.open_log import create_log, open_log
from stream_prune.minibatch.place import KafkaPlace
from stream_prune.minibatch.reader import CursorState, two_cursors, windows
from stream_prune.minibatch.retention import Retention

DEADLINE_S = 60
HEADER = LogHeader.of(SPEC, window_ms=LENGTH, batch_rows=100)


class FolderPlace:
    """Logs in a folder of the test's own."""

    def __init__(self, path):
        self.place = path / "log"

    def letters(self):
        texts = [path.read_text() for path in sorted((self.place / "dead_letters").iterdir())]
        return [json.loads(line) for text in texts for line in text.splitlines()]


class TopicPlace:
    """Logs in topics of the test's own."""

    def __init__(self, broker, name):
        name = "".join(c if c.isalnum() else "-" for c in name)[:100]
        self.place = KafkaPlace(broker.bootstrap, f"{name}-{time.time_ns()}", patience_s=30)

    def letters(self):
        from kafka_messages import committed

        return [json.loads(m.value) for m in committed(self.place, self.place.topic + ".dlq")]


@pytest.fixture(params=["folder", "kafka"])
def at(request, tmp_path):
    """A place for a log."""
    if request.param == "folder":
        return FolderPlace(tmp_path)
    return TopicPlace(request.getfixturevalue("broker"), request.node.name)


@pytest.fixture(scope="module", params=["folder", "kafka"])
def unwritten(request, tmp_path_factory):
    """A log of two shards, for tests that commit nothing."""
    if request.param == "folder":
        place = FolderPlace(tmp_path_factory.mktemp("unwritten")).place
    else:
        place = TopicPlace(request.getfixturevalue("broker"), "unwritten").place
    with closing(create_log(place, replace(HEADER, shards=2))) as made:
        yield made


@pytest.fixture
def log(at):
    """A new log of two shards."""
    with closing(create_log(at.place, replace(HEADER, shards=2))) as made:
        yield made


def letter(offset, source="a.csv"):
    return {"source": source, "partition": 0, "offset": offset, "reason": "bad", "row": "x"}


def test_an_older_writer_can_do_nothing_any_more(log, at):
    zombie = log.writer(0)
    ref = zombie.write_batch(2000, 0, rows(2000))
    zombie.write_dead_letters(2000, [letter(0)])
    log.writer(0)
    for attempt in (
        lambda: commit(zombie, 2000, [ref]),
        lambda: commit(zombie, 2000, [ref]),
        lambda: zombie.write_batch(2000, 1, rows(2000, index=1)),
        lambda: zombie.write_dead_letters(3000, [letter(0)]),
        lambda: zombie.leave_dead_letters([letter(0)]),
    ):
        with pytest.raises(StaleWriter, match="shard 0: a newer writer"):
            attempt()
    assert log.commits(0) == []
    assert at.letters() == []


def test_of_two_that_go_on_for_ever_the_newer_one_wins(log):
    older = log.writer(0)
    newer = log.writer(0)
    with pytest.raises(StaleWriter):
        write(older, 2000)
    write(newer, 2000)
    with pytest.raises(StaleWriter):
        write(older, 2000)
    write(newer, 3000)
    assert [c.window_end for _, c in log.commits(0)] == [2000, 3000]


def test_windows_committed_together_are_seen_in_turn(log, at):
    writer = log.writer(0)
    records = []
    for end in range(2000, 7000, 1000):
        refs = [writer.write_batch(end, i, rows(end, 5, 0, i)) for i in range(2)]
        writer.write_dead_letters(end, [letter(end)])
        records.append(record(writer, end, refs))
    assert log.commits(0) == []
    writer.commit(records)
    assert [found for _, found in log.commits(0)] == records
    assert log.writer(0).last == records[-1]
    for _, made in open_log(at.place).commits(0):
        names = [BatchName(made.window_end, 0, ref.index) for ref in made.batches]
        read = [log.read_arrow(*pair) for pair in zip(names, made.batches, strict=True)]
        assert read == [rows(made.window_end, 5, 0, i) for i in range(2)]


def test_what_no_commit_names_is_dropped(log):
    writer = log.writer(0)
    writer.write_batch(2000, 0, rows(2000))
    writer.write_batch(3000, 0, rows(3000))
    commit(writer, 2000)
    with pytest.raises(ValueError, match="was not written as"):
        commit(writer, 3000, [BatchRef(0, 3, "ab")])
    ref = writer.write_batch(3000, 0, rows(3000, 4))
    commit(writer, 3000, [ref])
    (_, last) = log.commits(0)[-1]
    assert log.read_arrow(BatchName(3000, 0, 0), last.batches[0]).num_rows == 4


def test_a_name_that_repeats_with_other_rows_stops_the_job(unwritten):
    writer = unwritten.writer(0)
    ref = writer.write_batch(2000, 0, rows(2000))
    assert writer.write_batch(2000, 0, rows(2000)) == ref
    with pytest.raises(RunError, match=r"2000-0-0.*: same name, other content"):
        writer.write_batch(2000, 0, rows(2000, index=1))


def test_dead_letters_come_with_their_commit_once_each(log, at):
    first = log.writer(0)
    first.write_dead_letters(2000, [letter(9), letter(10), letter(2), letter(3, "A.csv")])
    commit(first, 2000)
    first.write_dead_letters(3000, [letter(11), letter(12)])
    second = log.writer(0)
    second.write_dead_letters(3000, [letter(11)])
    commit(second, 3000)
    assert [found["offset"] for found in at.letters()] == [3, 2, 9, 10, 11]
    assert at.letters()[0] == letter(3, "A.csv")


def test_state_is_kept_with_the_commit_that_names_it(log, at):
    writer = log.writer(0)
    kept = pa.record_batch({"key": pa.array([1, 2, 3])})
    data = arrow_file(kept, kept.schema)
    writer.write_state("2000-0-lost", data)
    commit(writer, 2000)
    state = (writer.write_state("3000-0-kept", data),)
    with pytest.raises(ValueError, match="state 3000-0-other was not written"):
        commit(writer, 3000, state=(("3000-0-other", "ab"),))
    state = (writer.write_state("3000-0-kept", data),)
    commit(writer, 3000, state=state)
    ((name, digest),) = log.writer(0).last.state
    found = open_log(at.place)
    assert found.read_state(name, digest).equals(kept)
    with pytest.raises(RunError, match="not the state that were committed"):
        found.read_state(name, "ab")
    writer = log.writer(0)
    writer.forget_states(["3000-0-kept", "never-0-there"])


def test_what_is_old_goes_but_not_what_a_reader_needs(log):
    writers = [log.writer(shard) for shard in range(2)]
    for end in range(1000, 21_000, 1000):
        for writer in writers:
            write(writer, end, batches=2)
    assert log.trimmed() == 0
    log.hold("slow", 4000)
    log.hold("fast", 18_000)
    assert log.trim(Retention(age_ms=5000)) == log.trimmed() == 4000
    log.hold("slow", 30_000)
    assert log.trim(Retention(age_ms=5000), at_least_ms=12_000) == 7999
    assert log.trim(Retention(age_ms=5000)) == 15_000
    found = list(windows(log))
    assert [window.end for window in found] == list(range(16_000, 21_000, 1000))
    for window in found:
        for name, ref in window.batches:
            expected = rows(name.window_end, shard=name.shard, index=name.index)
            assert log.read_arrow(name, ref) == expected
    assert [window.end for window in windows(log, after=17_000)] == [18_000, 19_000, 20_000]
    with pytest.raises(RunError, match="windows up to 15000 have been removed, and those after 9"):
        list(windows(log, after=9000))
    write(log.writer(0), 21_000)
    assert len(log.commits(0)) == 21


def test_what_does_not_fit_into_a_number_of_rows_goes(log):
    for shard in range(2):
        writer = log.writer(shard)
        for end in range(1000, 11_000, 1000):
            write(writer, end, batches=2)
    assert log.trim(Retention(rows=20)) == 7000
    assert log.trim(Retention(rows=10**9)) == 7000
    assert log.trim(Retention(rows=1)) == 9999


def test_what_does_not_fit_into_a_number_of_bytes_goes(log):
    for shard in range(2):
        writer = log.writer(shard)
        for end in range(1000, 11_000, 1000):
            write(writer, end, batches=2)
    sizes = [commit.size for _, commit in log.commits(0)]
    assert min(sizes) > 100
    assert log.trim(Retention(size=sum(sizes[-4:]))) == 6000
    assert log.trim(Retention(size=sum(sizes[-4:]) - 1)) == 7000


def test_a_start_finds_the_commits_that_it_needs_among_many(log, monkeypatch):
    monkeypatch.setattr("stream_prune.minibatch.kafka_log._TAIL", 4)
    ends = list(range(1000, 31_000, 1000))
    for end in ends:
        if end % 7000 == 0 or end == 1000:
            writer = log.writer(0)  # claims are among the commits
        commit(writer, end, end=end == ends[-1])
    numbers = {made.window_end: number for number, made in log.commits(0)}
    assert list(numbers) == ends
    for end in (1000, 6000, 7000, 7001, 7999, 30_000, 90_000):
        at = log.seek(0, end)
        assert at == numbers[min(end // 1000 * 1000, ends[-1])]
        assert next(c.window_end for _, c in log.commits(0, at)) <= end
    assert log.seek(0, 999) == log.seek(1, 5000) == 0
    assert [c.window_end for c in last_commits(log, 0)] == [30_000]
    assert [c.window_end for c in last_commits(log, 0, 2500)][-3:] == [28_000, 29_000, 30_000]
    assert last_commits(log, 1) == []
    assert list(windows(log, after=30_000)) == []


def test_a_log_that_was_closed_can_be_asked_again(log):
    write(log.writer(0), 2000)
    log.commits(0)
    log.close()
    assert len(log.commits(0)) == 1
    log.close()
    log.close()


def test_letters_of_a_job_that_stops_can_be_read(log, at):
    log.writer(0).leave_dead_letters([letter(1), letter(2)])
    assert [found["offset"] for found in at.letters()] == [1, 2]
    assert log.commits(0) == []


def test_what_is_agreed_on_is_said_once(log, at):
    assert log.agree("source", "clicks") == "clicks"
    assert log.agree("source", "others") == "clicks"
    assert open_log(at.place).agree("source", "others") == "clicks"


def test_a_place_without_a_log_is_refused(at):
    if isinstance(at, FolderPlace):
        at.place.mkdir()
    with pytest.raises(ConfigError, match="no mini-batch log"):
        open_log(at.place)


def test_a_batch_that_lies_elsewhere_than_the_commit_says_is_refused(log, at):
    writer = log.writer(0)
    refs = [writer.write_batch(2000, i, rows(2000, index=i)) for i in range(2)]
    commit(writer, 2000, refs)
    ((_, made),) = log.commits(0)
    first, second = made.batches
    swapped = replace(first, position=second.position, digest=second.digest)
    if isinstance(at, TopicPlace):
        with pytest.raises(RunError, match="not the 3 rows that were committed"):
            log.read_arrow(BatchName(2000, 0, 0), swapped)
    with pytest.raises(RunError, match="not the 3 rows that were committed"):
        log.read_arrow(BatchName(2000, 0, 0), replace(first, digest="ab"))


def test_two_cursors_read_every_batch_wherever_they_are(log):
    writers = [log.writer(shard) for shard in range(2)]
    for end in range(1000, 9000, 1000):
        for writer in writers:
            write(writer, end, batches=3, end=end == 8000)
    for step in two_cursors(windows(log), 3500):
        for name, ref in step.window.batches:
            expected = rows(name.window_end, shard=name.shard, index=name.index)
            assert log.read_arrow(name, ref) == expected


def test_a_window_is_seen_once_it_is_committed_and_not_before(log):
    writer = log.writer(0)
    ref = writer.write_batch(2000, 0, rows(2000))
    assert log.commits(0) == []
    record = commit(writer, 2000, [ref], counts={"good": 3})
    assert [found for _, found in log.commits(0)] == [record]
    ((_, made),) = log.commits(0)
    assert log.read_arrow(BatchName(2000, 0, 0), made.batches[0]).equals(rows(2000))
    assert log.commits(1) == []


def test_a_writer_goes_on_after_the_last_commit_of_another(log):
    assert log.writer(0).last is None
    first = log.writer(0)
    record = write(first, 2000)
    second = log.writer(0)
    assert second.epoch > first.epoch
    assert second.last == record
    write(second, 3000)
    assert [c.window_end for _, c in log.commits(0)] == [2000, 3000]


def test_a_zombie_that_wakes_after_its_successor_committed_is_refused_too(log):
    zombie = log.writer(0)
    ref = zombie.write_batch(2000, 0, rows(2000))
    record = write(log.writer(0), 2000)
    with pytest.raises(StaleWriter):
        commit(zombie, 2000, [ref])
    assert [c for _, c in log.commits(0)] == [record]


def test_a_writer_of_another_shard_disturbs_nobody(log):
    writer = log.writer(0)
    log.writer(1)
    write(writer, 2000)
    assert len(log.commits(0)) == 1


def test_writers_that_start_together_get_different_epochs(log):
    epochs = []
    threads = [threading.Thread(target=lambda: epochs.append(log.writer(0).epoch)) for _ in "12345"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs) == [1, 2, 3, 4, 5]


def test_windows_are_committed_in_turn(log):
    writer = log.writer(0)
    write(writer, 2000)
    for wrong in (1000, 2000, 2500):
        with pytest.raises(ValueError, match=f"window_end {wrong}"):
            writer.write_batch(wrong, 0, rows(wrong))
    for wrong in (1000, 2000, 4000, 2500):
        with pytest.raises(ValueError, match=f"window_end {wrong}"):
            commit(writer, wrong)
    commit(writer, 3000)
    commit(writer, 4000, end=True)
    with pytest.raises(ValueError, match="has ended"):
        commit(writer, 5000)
    with pytest.raises(ValueError, match="has ended"):
        log.writer(0).write_batch(5000, 0, rows(5000))


@pytest.mark.parametrize("wrong", [0, -1000, 1500])
def test_a_window_that_no_log_has_is_refused(unwritten, wrong):
    with pytest.raises(ValueError, match="no positive multiple"):
        commit(unwritten.writer(0), wrong)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (rows(2000).slice(0, 0), "has 0 rows"),
        (rows(2000, 101), "has 101 rows"),
        (rows(3000), "outside the window"),
        (rows(1000), "outside the window"),
        (rows(2000).take(pa.array([2, 1, 0])), "out of order"),
        (rows(2000).drop_columns(["x"]), "has the columns"),
        (rows(2000).set_column(1, "user", pa.array([1, 2, None])), "nulls in user"),
        (
            rows(2000).set_column(2, "genres", pa.array([[1], [None], []], pa.list_(pa.int64()))),
            "nulls in genres",
        ),
    ],
)
def test_a_batch_that_is_none_of_the_windows_is_refused(unwritten, batch, message):
    with pytest.raises(ValueError, match=message):
        unwritten.writer(0).write_batch(2000, 0, batch)
    assert unwritten.commits(0) == []


def test_a_commit_of_what_this_writer_did_not_write_is_refused(unwritten):
    writer = unwritten.writer(0)
    ref = writer.write_batch(2000, 0, rows(2000))
    for refs in ([BatchRef(0, 3, "ab")], [ref, ref], [BatchRef(1, 3, ref.digest)]):
        with pytest.raises(ValueError, match="was not written as"):
            commit(writer, 2000, refs)
    for wrong in (
        Commit(2000, 1, writer.epoch, SPEC.fingerprint),
        Commit(2000, 0, writer.epoch + 1, SPEC.fingerprint),
        Commit(2000, 0, writer.epoch, "ab"),
    ):
        with pytest.raises(ValueError, match="another writer's"):
            writer.commit([wrong])


def test_a_shard_that_the_log_does_not_have_is_refused(unwritten):
    with pytest.raises(ConfigError, match="shard = 2: the log has the shards 0 to 1"):
        unwritten.writer(2)


def test_a_batch_is_read_as_arrays(log, at):
    write(log.writer(0), 2000)
    found, name = open_log(at.place, SPEC), BatchName(2000, 0, 0)
    ((_, made),) = found.commits(0)
    batch = found.read(name, made.batches[0], SPEC)
    expected = MiniBatch.from_arrow(SPEC, name, rows(2000))
    assert batch.name == name
    assert batch.ids.tolist() == expected.ids.tolist()
    assert batch.event_time.tolist() == expected.event_time.tolist()


def test_reading_goes_on_from_any_number(log):
    commit(log.writer(0), 2000)
    log.writer(0)
    commit(log.writer(0), 3000)
    (first, two), (second, three) = log.commits(0)
    assert (two.window_end, three.window_end) == (2000, 3000)
    for start in range(first + 1, second + 1):
        assert log.commits(0, start) == [(second, three)]
    assert log.commits(0, second + 1) == []


def test_both_differences_are_named(log, at):
    with pytest.raises(ConfigError, match=r"features\.event_time .*; features\.label "):
        open_log(at.place, replace(SPEC, label="z", event_time="when"))


@pytest.mark.parametrize("change", [{"window_ms": 5}, {"shards": 2}, {"batch_rows": 7}])
def test_a_log_is_not_gone_on_with_in_another_shape(at, change):
    create_log(at.place, HEADER)
    ((field, value),) = change.items()
    told = f"{field} is .* in the log, {value} here|has 1 partitions, not 2"
    with pytest.raises(ConfigError, match=told):
        create_log(at.place, replace(HEADER, **change))


def test_creating_an_equal_log_again_opens_it(at):
    first = create_log(at.place, HEADER)
    assert create_log(at.place, HEADER).header == first.header == HEADER
    assert open_log(at.place).spec == SPEC


def test_a_window_holds_the_batches_of_all_shards_in_order(log):
    second = write(log.writer(1), 2000, batches=2)
    first = write(log.writer(0), 2000, batches=1)
    (window,) = windows(log)
    assert (window.start, window.end, window.rows) == (1000, 2000, 9)
    assert window.batches == (
        (BatchName(2000, 0, 0), first.batches[0]),
        (BatchName(2000, 1, 0), second.batches[0]),
        (BatchName(2000, 1, 1), second.batches[1]),
    )
    assert not window.end_of_log


def test_a_log_that_is_written_is_followed_to_its_end(log):
    last = 20_000
    turn = threading.Semaphore(0)

    def job(shard):
        for end in range(1000, last + 1, 1000):
            if end % 5000 == 0:
                turn.acquire(timeout=DEADLINE_S)
                writer = log.writer(shard)  # restarted in between
            elif end == 1000:
                writer = log.writer(shard)
            write(writer, end, end=end == last)

    threads = [threading.Thread(target=job, args=(shard,)) for shard in (0, 1)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + DEADLINE_S
    seen = []
    for window in windows(
        log, follow=True, poll_s=0.001, stop=lambda: turn.release() or time.monotonic() > deadline
    ):
        seen.append(window.end)
        assert len(window.batches) == 2
    for thread in threads:
        thread.join()
    assert seen == list(range(1000, last + 1, 1000))
    assert seen == [window.end for window in windows(log)]


@pytest.mark.parametrize("ended", [True, False])
def test_a_checkpoint_is_two_numbers_and_the_log_gives_the_rest(at, ended):
    log = create_log(at.place, HEADER)
    writer = log.writer(0)
    for end in range(1000, 9000, 1000):
        write(writer, end, end=ended and end == 8000)
    steps = list(two_cursors(windows(log), 2500))
    assert len(steps) == (16 if ended else 12)
    state = CursorState()
    for done in range(len(steps) + 1):
        kept = json.loads(json.dumps(state.to_dict()))
        again = CursorState.restore(log, **kept)
        assert again == state
        rest = windows(log, after=again.scored_until)
        assert list(two_cursors(rest, 2500, again)) == steps[done:]
        if done < len(steps):
            state = state.after(steps[done])
