"""Writers of a log in Kafka that are killed or paused, and brokers that go away."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kafka_messages import committed
from log_builder import LENGTH, SPEC, rows, write

from stream_prune.errors import RunError
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.kafka_log import KafkaLog
from stream_prune.minibatch.log import StaleWriter
from stream_prune.minibatch.place import KafkaPlace
from stream_prune.minibatch.reader import windows

LAST = 12_000
HEADER = LogHeader.of(SPEC, window_ms=LENGTH, batch_rows=100)
WRITER = [sys.executable, str(Path(__file__).parents[1] / "killed_writer.py")]


@pytest.fixture
def log(broker, request):
    return a_log(broker, request.node.name)


def a_log(broker, name, patience_s=60.0):
    name = "".join(c if c.isalnum() else "-" for c in name)
    place = KafkaPlace(broker.bootstrap, f"{name}-{time.time_ns()}", patience_s=patience_s)
    return KafkaLog.create(place, HEADER)


def command(log, operations):
    return [*WRITER, str(log.at), "0", str(LAST), str(operations)]


def check_whole(log):
    """The log is what an undisturbed writer writes."""
    found = list(windows(KafkaLog.open(log.at, SPEC), follow=True))
    assert [w.end for w in found] == list(range(1000, LAST + 1, 1000))
    for window in found:
        batches = [log.read_arrow(name, ref) for name, ref in window.batches]
        assert batches == [rows(window.end, 5, 0, i) for i in range(2)]
    assert len(committed(log.at, log.at.topic)) == 2 * len(found)
    letters = [json.loads(m.value) for m in committed(log.at, log.at.topic + ".dlq")]
    assert [letter["offset"] for letter in letters] == [w.end for w in found]


def test_a_writer_killed_at_any_step_is_continued_and_nothing_committed_changes(log):
    moments = random.Random(0)
    before = []
    for _ in range(5):
        killed = subprocess.run(command(log, moments.randint(2, 25)), capture_output=True)
        assert killed.returncode in (0, -signal.SIGKILL), killed.stderr.decode()
        now = log.commits(0)
        assert now[: len(before)] == before
        before = now
    subprocess.run(command(log, 0), check=True, capture_output=True)
    assert log.commits(0)[: len(before)] == before
    check_whole(log)


def test_a_writer_stopped_in_mid_flight_is_refused_when_it_wakes(log):
    with subprocess.Popen(
        command(log, 0), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as zombie:
        for line in zombie.stdout:
            if line.startswith("committed"):
                break
        zombie.send_signal(signal.SIGSTOP)
        successor = log.writer(0)
        before = log.commits(0)
        zombie.send_signal(signal.SIGCONT)
        _, errors = zombie.communicate(timeout=120)
    if successor.last is None or not successor.last.end:  # else it was done before the signal
        assert zombie.returncode == 1
        assert StaleWriter.__name__ in errors
    assert log.commits(0) == before
    subprocess.run(command(log, 0), check=True, capture_output=True)
    check_whole(log)


def test_a_transaction_whose_end_was_not_seen_counts_once(log, monkeypatch):
    from kafka import KafkaProducer
    from kafka.errors import KafkaTimeoutError

    ending, moments = KafkaProducer.commit_transaction, iter(["before", "after"])

    def lost(producer):
        moment = next(moments, None)
        if moment != "before":
            ending(producer)
        if moment is not None:
            raise KafkaTimeoutError(moment)

    writer = log.writer(0)
    monkeypatch.setattr(KafkaProducer, "commit_transaction", lost)
    write(writer, 2000, batches=2)
    write(writer, 3000)
    assert [c.window_end for _, c in log.commits(0)] == [2000, 3000]
    assert len(committed(log.at, log.at.topic)) == 3


def test_a_writer_and_a_reader_outlive_the_broker(own_broker):
    log = a_log(own_broker, "restart", patience_s=120.0)
    writer, seen = log.writer(0), []
    reading = threading.Thread(target=lambda: seen.extend(windows(log, follow=True)))
    reading.start()
    for end in range(1000, LAST + 1, 1000):
        if end == 4000:
            own_broker.kill()
            restart = threading.Thread(target=own_broker.start)
            restart.start()
        write(writer, end, end=end == LAST)
    restart.join()
    reading.join(timeout=120)
    assert [window.end for window in seen] == list(range(1000, LAST + 1, 1000))
    assert [c.window_end for _, c in log.commits(0)] == [window.end for window in seen]


def test_a_broker_that_is_not_there_is_named():
    place = KafkaPlace("127.0.0.1:1", "nowhere", patience_s=0.5)
    with pytest.raises(RunError, match=r"kafka://127\.0\.0\.1:1/nowhere: no broker lets"):
        KafkaLog.open(place)
