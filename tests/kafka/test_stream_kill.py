"""The streaming job killed, paused and superseded; the broker killed under it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streams import fill, kept, letters_in_topic, options, reconcile, windows

from beam_jobs.local_kafka import LocalKafka
from beam_jobs.stream import stream
from beam_jobs.stream_options import StreamOptions
from stream_prune.errors import RunError

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["beam_jobs.stream", "beam_jobs.letter_topic"])


def _stream(given: StreamOptions, kill_at: int, seen: multiprocessing.Value, told: Path) -> None:
    """Streams, and kills itself before file operation ``kill_at`` below the log's folder."""
    folder = str(given.log)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event not in ("open", "os.link", "os.remove", "os.mkdir", "os.rename"):
            return
        if any(str(a).startswith(folder) for a in arguments if isinstance(a, (str, Path))):
            seen.value += 1
            if seen.value == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    try:
        stream(given, to_end=True)
    except RunError as error:
        told.write_text(str(error))
        sys.exit(1)


class Process:
    """A job in a process of its own."""

    def __init__(self, given: StreamOptions, kill_at: int = -1) -> None:
        self.told = Path(given.log).parent / f"told-{time.monotonic_ns()}"
        self._seen = PROCESSES.Value("q", 0)
        self._process = PROCESSES.Process(
            target=_stream, args=(given, kill_at, self._seen, self.told)
        )
        self._process.start()

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def end(self) -> int:
        """Waits for its end; its exit code."""
        self._process.join(120)
        assert self._process.exitcode is not None
        return self._process.exitcode

    @property
    def operations(self) -> int:
        return int(self._seen.value)


def _letters(broker: LocalKafka, topic: str) -> list[tuple[int, int, str]]:
    found = []
    for record in letters_in_topic(broker, f"{topic}.dlq"):
        own = {name: value.decode() for name, value in record.headers}
        numbers = [int(own[f"stream_prune.{name}"]) for name in ("partition", "offset")]
        found.append((numbers[0], numbers[1], own["stream_prune.kind"]))
    return found


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_killed_at_random_moments_the_log_ends_up_as_if_undisturbed(
    broker: LocalKafka, new_topic: Callable[..., str], client: str, tmp_path: Path
) -> None:
    topic = new_topic()
    ledger = fill(broker, topic, tmp_path / "in", rows=3_000)
    given = options(broker, topic, tmp_path / "log", client=client, epoch_rows=500)
    undisturbed = replace(given, log=tmp_path / "whole")
    whole = Process(undisturbed)
    assert whole.end() == 0
    choose = random.Random(7)
    disturbed = replace(given, dead_letters="topic")
    most = whole.operations // 3
    codes = [Process(disturbed, choose.randint(1, most)).end() for _ in range(5)]
    assert codes.count(-signal.SIGKILL) >= 2
    assert Process(disturbed).end() == 0
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    reconcile(ledger, tmp_path / "log", _letters(broker, topic))


def test_a_broker_that_is_killed_and_comes_back_changes_nothing(
    own_broker: LocalKafka, tmp_path: Path
) -> None:
    jobs, ledger = {}, fill(own_broker, "clicks", tmp_path / "in", rows=2_000)
    for client in ("kafka-python", "confluent"):
        jobs[client] = options(
            own_broker, "clicks", tmp_path / client, client=client, epoch_rows=20
        )
    own_broker.stop()  # what it has in memory reaches the disk: only the job is to be tested
    own_broker.start()
    begun = {client: threading.Event() for client in jobs}
    done: list[str] = []

    def run(client: str) -> None:
        stream(jobs[client], to_end=True, progress=lambda epoch: begun[client].set())
        done.append(client)

    threads = [threading.Thread(target=run, args=(client,)) for client in jobs]
    for thread in threads:
        thread.start()
    assert all(event.wait(60) for event in begun.values())
    own_broker.kill()
    assert not done
    own_broker.start()
    for thread in threads:
        thread.join(120)
    assert sorted(done) == sorted(jobs)
    good = {place for place, kind in ledger.items() if kind == "good"}
    assert windows(tmp_path / "kafka-python") == windows(tmp_path / "confluent")
    assert len(kept(tmp_path / "confluent")) == len(good)
    assert set(kept(tmp_path / "confluent")) == good


def test_a_job_woken_after_its_successor_changes_nothing_and_says_why_it_stops(
    broker: LocalKafka, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = new_topic()
    fill(broker, topic, tmp_path / "in", rows=2_000)
    given = options(broker, topic, tmp_path / "log", epoch_rows=20)
    sleeper = Process(given)
    deadline = time.monotonic() + 60
    while not (tmp_path / "log" / "log.json").exists() or not kept(tmp_path / "log"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sleeper.send(signal.SIGSTOP)
    stream(replace(given, epoch_rows=1_000), to_end=True)
    before = windows(tmp_path / "log")
    letters = sorted(path.name for path in (tmp_path / "log" / "dead_letters").iterdir())
    sleeper.send(signal.SIGCONT)
    assert sleeper.end() == 1
    assert "a newer writer has claimed it" in sleeper.told.read_text()
    assert windows(tmp_path / "log") == before
    after = sorted(path.name for path in (tmp_path / "log" / "dead_letters").iterdir())
    assert after == letters
