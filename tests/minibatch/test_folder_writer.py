from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_builder import SPEC, commit, create, rows, write

from stream_prune.errors import RunError
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.log import StaleWriter


@pytest.fixture
def log(tmp_path):
    return create(tmp_path / "log", shards=2)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_older_writer_can_do_nothing_any_more(log):
    zombie = log.writer(0)
    ref = zombie.write_batch(2000, 0, rows(2000))
    log.writer(0)
    for attempt in (
        lambda: commit(zombie, 2000, [ref]),
        lambda: commit(zombie, 2000, [ref]),
        lambda: zombie.write_batch(2000, 1, rows(2000, index=1)),
        lambda: zombie.write_dead_letters(2000, [letter(0)]),
    ):
        with pytest.raises(StaleWriter, match="shard 0: a newer writer"):
            attempt()
    assert log.commits(0) == []
    assert names(log.path / "dead_letters") == names(log.path / "temporary") == []


def test_the_same_rows_may_be_written_again_and_others_may_not(log):
    first = log.writer(0)
    ref = first.write_batch(2000, 0, rows(2000))
    second = log.writer(0)
    assert second.write_batch(2000, 0, rows(2000)) == ref
    second.write_batch(2000, 1, rows(2000, index=1))
    with pytest.raises(RunError, match=r"2000-0-1\.arrow: same name, other content"):
        second.write_batch(2000, 1, rows(2000, index=2))
    commit(second, 2000, [ref])
    assert log.read_arrow(BatchName(2000, 0, 0), ref).equals(rows(2000))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 20), st.randoms())
def test_equal_rows_are_equal_files_whatever_they_were_cut_from(before, after, count, random):
    batch = rows(2000, count)
    with tempfile.TemporaryDirectory() as folder:
        writer = create(folder).writer(0)
        ref = writer.write_batch(2000, 0, batch)
        padded = pa.Table.from_batches([rows(3000, before + 1), batch, rows(4000, after + 1)])
        sliced = padded.combine_chunks().to_batches()[0].slice(before + 1, count)
        assert writer.write_batch(2000, 0, sliced) == ref
        order = random.sample(range(count), count)
        shuffled = batch.take(pa.array(order)).take(pa.array(np.argsort(order)))
        assert writer.write_batch(2000, 0, shuffled) == ref
        label = batch.column("__label")
        residue = pa.array(
            np.where(label.is_null(), 7, label), mask=label.is_null().to_numpy(False)
        )
        dirty = batch.set_column(4, "__label", residue.cast(pa.float32()))
        assert writer.write_batch(2000, 0, dirty) == ref


def group(writer, ends, batches=2):
    """Write windows, each with a dead letter, and the commits that close them."""
    records = []
    for end in ends:
        refs = [writer.write_batch(end, i, rows(end, 5, 0, i)) for i in range(batches)]
        writer.write_dead_letters(end, [letter(end)])
        records.append(Commit(end, 0, writer.epoch, SPEC.fingerprint, tuple(refs)))
    return records


def test_windows_committed_together_are_seen_in_turn(log):
    writer = log.writer(0)
    records = group(writer, range(2000, 7000, 1000))
    assert log.commits(0) == []
    assert names(log.path / "batches") == []
    writer.commit(records)
    assert [found for _, found in log.commits(0)] == records
    assert len(names(log.path / "batches")) == 10
    assert names(log.path / "temporary") == []
    writer.commit(group(writer, [7000]))
    assert log.writer(0).last.window_end == 7000


def test_everything_that_a_commit_names_is_durable_before_the_commit_is_seen(log, monkeypatch):
    writer = log.writer(0)
    records = group(writer, range(2000, 5000, 1000))
    durable, synced = set(), []
    sync, link = os.fsync, os.link

    def fsync(handle):
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
        durable.add(os.fstat(handle).st_ino)
        synced.append(path)
        sync(handle)

    def seen(source, target, **options):
        assert Path(source).stat().st_ino in durable
        if "/commits/" in str(target):
            named = [*(log.path / "batches").iterdir(), *(log.path / "dead_letters").iterdir()]
            assert len(named) == 9
            assert {path.stat().st_ino for path in named} <= durable
            assert {str(log.path / "batches"), str(log.path / "dead_letters")} <= set(synced)
        link(source, target, **options)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", seen)
    writer.commit(records)
    assert synced[-1] == str(log.path / "commits" / "0")
    assert len(synced) == 6 + 3 + 3 + 3  # batches, letters, records and their folders, each once


def test_without_letters_and_batches_their_folders_are_not_waited_for(log, monkeypatch):
    writer, synced = log.writer(0), []
    monkeypatch.setattr(os, "fsync", synced.append)
    empty = [Commit(end, 0, writer.epoch, SPEC.fingerprint) for end in (2000, 3000)]
    writer.commit(empty)
    assert len(synced) == 3


def test_of_commits_made_together_those_before_the_claim_stand(log, monkeypatch):
    zombie, link = log.writer(0), os.link
    records, successors = group(zombie, range(2000, 5000, 1000)), []

    def late(source, target, **options):
        if str(target).endswith("0000000002.json") and not successors:
            successors.append(None)  # the successor claims this number just before the zombie
            successors[0] = log.writer(0)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(StaleWriter):
        zombie.commit(records)
    assert [found for _, found in log.commits(0)] == records[:1]
    assert zombie.last == successors[0].last == records[0]
    successors[0].commit(group(successors[0], [3000, 4000]))
    assert [found.window_end for _, found in log.commits(0)] == [2000, 3000, 4000]
    assert names(log.path / "temporary") == []


def test_what_no_commit_names_is_dropped(log):
    writer = log.writer(0)
    writer.commit(group(writer, [2000, 3000])[:1])
    assert names(log.path / "batches") == ["2000-0-0.arrow", "2000-0-1.arrow"]
    assert names(log.path / "temporary") == []


@pytest.mark.parametrize("call", ["fsync", "link", "open"])
def test_a_full_disk_is_named_with_the_file_and_leaves_nothing_behind(log, monkeypatch, call):
    writer = log.writer(0)
    before = names(log.path / "batches"), names(log.path / "commits" / "0")

    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("io.open" if call == "open" else f"os.{call}", full)
        with pytest.raises(RunError, match=r"2000-0-0\.arrow: No space left on device"):
            write(writer, 2000)
        with pytest.raises(RunError, match=r"log/.*: No space left on device"):
            commit(writer, 2000)
    assert (names(log.path / "batches"), names(log.path / "commits" / "0")) == before
    assert names(log.path / "temporary") == []
    write(log.writer(0), 2000)
    assert len(log.commits(0)) == 1


def test_what_a_killed_writer_left_is_cleaned_by_the_next_of_its_shard(log):
    killed, other = log.writer(0), log.writer(1)
    for epoch, shard in ((killed.epoch, 0), (other.epoch, 1)):
        (log.path / "temporary" / f"{shard}-{epoch}.abc").write_text("half")
    (log.path / "temporary" / "header.abc").write_text("half")
    (log.path / "temporary" / "0-99.abc").write_text("a newer writer's, at work")
    log.writer(0)
    assert names(log.path / "temporary") == ["0-99.abc", f"1-{other.epoch}.abc"]


def letter(offset, source="a.csv"):
    return {"source": source, "partition": 0, "offset": offset, "reason": "bad", "row": "x"}


def test_dead_letters_lie_sorted_by_their_position(log):
    writer = log.writer(0)
    writer.write_dead_letters(2000, [letter(9), letter(10), letter(2), letter(3, "A.csv")])
    commit(writer, 2000)
    writer.write_dead_letters(3000, [])
    (file,) = (log.path / "dead_letters").iterdir()
    lines = [line.split('"offset": ')[1].split(",")[0] for line in file.read_text().splitlines()]
    assert lines == ["3", "2", "9", "10"]


def test_dead_letters_of_a_window_that_was_never_committed_are_not_kept_twice(log):
    first = log.writer(0)
    first.write_dead_letters(2000, [letter(1)])
    commit(first, 2000)
    first.write_dead_letters(3000, [letter(2), letter(3)])
    second = log.writer(0)
    second.write_dead_letters(3000, [letter(2)])
    commit(second, 3000)
    log.writer(0)
    log.writer(1)
    kept = names(log.path / "dead_letters")
    assert kept == [f"2000-0-{first.epoch}.jsonl", f"3000-0-{second.epoch}.jsonl"]


def test_a_gap_in_the_sequence_stops_the_next_writer(log):
    writer = log.writer(0)
    commit(writer, 2000)
    commit(writer, 3000)
    log.record_path(0, 1).unlink()
    with pytest.raises(RunError, match=r"0000000002\.json|0000000001\.json"):
        log.writer(0)
