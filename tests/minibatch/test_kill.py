from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from log_builder import SPEC, create, rows

from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.log import StaleWriter
from stream_prune.minibatch.reader import windows

LAST = 20_000
WRITER = [sys.executable, str(Path(__file__).parents[1] / "killed_writer.py")]


def command(log, operations, shard=0):
    return [*WRITER, str(log.path), str(shard), str(LAST), str(operations)]


def committed(log):
    """What readers see: the commits, and the bytes of the batches that they name."""
    seen = {}
    for number, commit in log.commits(0):
        data = [log.batch_path(BatchName(commit.window_end, 0, r.index)) for r in commit.batches]
        seen[number] = (log.record_path(0, number).read_bytes(), [p.read_bytes() for p in data])
    return seen


def check_whole(log):
    """The log is what an undisturbed writer writes, and nothing else lies about."""
    found = list(windows(FolderLog.open(log.path, SPEC), follow=True))
    assert [w.end for w in found] == list(range(1000, LAST + 1, 1000))
    for window in found:
        batches = [log.read_arrow(name, ref) for name, ref in window.batches]
        assert batches == [rows(window.end, 5, 0, i) for i in range(2)]
    assert len(list((log.path / "batches").iterdir())) == 2 * len(found)
    letters = [p.read_text() for p in (log.path / "dead_letters").iterdir()]
    offsets = sorted(json.loads(line)["offset"] for text in letters for line in text.splitlines())
    assert offsets == [w.end for w in found]


@pytest.mark.parametrize("seed", range(3))
def test_a_writer_killed_at_any_step_is_continued_and_nothing_committed_changes(tmp_path, seed):
    moments = random.Random(seed)
    log = create(tmp_path / "log")
    before = {}
    for _ in range(6):
        killed = subprocess.run(command(log, moments.randint(1, 60)), capture_output=True)
        assert killed.returncode in (0, -signal.SIGKILL), killed.stderr.decode()
        now = committed(log)
        assert {number: now[number] for number in before} == before
        before = now
    subprocess.run(command(log, 0), check=True, capture_output=True)
    now = committed(log)
    assert {number: now[number] for number in before} == before
    check_whole(log)
    log.writer(0)
    assert list((log.path / "temporary").iterdir()) == []


def test_a_writer_stopped_in_mid_flight_is_refused_when_it_wakes(tmp_path):
    log = create(tmp_path / "log")
    with subprocess.Popen(
        command(log, 0), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as zombie:
        for line in zombie.stdout:
            if line.startswith("committed"):
                break
        zombie.send_signal(signal.SIGSTOP)
        successor = log.writer(0)
        before = committed(log)
        zombie.send_signal(signal.SIGCONT)
        _, errors = zombie.communicate(timeout=60)
    if successor.last is None or not successor.last.end:  # else it was done before the signal
        assert zombie.returncode == 1
        assert StaleWriter.__name__ in errors
    assert committed(log) == before
    subprocess.run(command(log, 0), check=True, capture_output=True)
    check_whole(log)
