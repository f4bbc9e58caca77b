from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_builder import SPEC, commit, create, write

from stream_prune.errors import RunError
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.folder_log import FolderLog

NAME = BatchName(2000, 0, 0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A log of one window, its batch's reference, and the batch's bytes."""
    log = create(tmp_path_factory.mktemp("written") / "log")
    (ref,) = write(log.writer(0), 2000).batches
    return log, ref, log.batch_path(NAME).read_bytes()


def refused(log, ref, data):
    path = log.batch_path(NAME)
    path.write_bytes(data)
    with pytest.raises(RunError) as refusal:
        log.read(NAME, ref, SPEC)
    assert str(path) in str(refusal.value)
    assert "restore the file" in str(refusal.value)


@given(st.data())
def test_a_flipped_bit_anywhere_is_found(written, data):
    log, ref, good = written
    position = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    refused(log, ref, good[:position] + bytes([good[position] ^ 1 << bit]) + good[position + 1 :])


@given(st.data())
def test_a_file_cut_short_or_longer_is_found(written, data):
    log, ref, good = written
    refused(log, ref, good[: data.draw(st.integers(0, len(good) - 1))])
    refused(log, ref, good + b"\0")


def test_a_missing_batch_is_named(tmp_path):
    log = create(tmp_path / "log")
    (ref,) = write(log.writer(0), 2000).batches
    log.batch_path(NAME).unlink()
    with pytest.raises(RunError, match=r"2000-0-0\.arrow: No such file"):
        log.read(NAME, ref, SPEC)


@pytest.mark.parametrize("content", [b"", b"{", b'{"kind": "commit"}', b"\xff\xfe"])
def test_a_damaged_commit_is_named(tmp_path, content):
    log = create(tmp_path / "log")
    commit(log.writer(0), 2000)
    log.record_path(0, 1).write_bytes(content)
    for attempt in (lambda: log.commits(0), lambda: log.writer(0)):
        with pytest.raises(RunError, match=r"0000000001\.json: damaged"):
            attempt()


def test_a_commit_of_another_log_is_refused(tmp_path):
    log = create(tmp_path / "log")
    commit(log.writer(0), 2000)
    path = log.record_path(0, 1)
    path.write_text(path.read_text().replace(SPEC.fingerprint, "0" * 64))
    with pytest.raises(RunError, match="mixes two logs"):
        log.commits(0)


def test_a_poll_opens_one_file_and_lists_none(tmp_path, monkeypatch):
    log = create(tmp_path / "log")
    writer = log.writer(0)
    for end in range(1000, 20_000, 1000):
        commit(writer, end)
    last = log.commits(0)[-1][0]
    asked = []
    monkeypatch.setattr("os.listdir", asked.append)
    monkeypatch.setattr("os.scandir", asked.append)
    record = FolderLog.record
    monkeypatch.setattr(FolderLog, "record", lambda *a: asked.append(a[1:]) or record(*a))
    assert log.commits(0, last + 1) == []
    assert asked == [(0, last + 1)]
