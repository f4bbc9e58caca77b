"""The streaming job on a real Flink: four readers, and the windows of the job on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import joined
import pytest
import yaml
from real_broker import create_topic, skip_if
from streams import (
    FAULTS,
    SLACK,
    SPEC,
    WINDOW,
    Ledger,
    counts,
    fill,
    letters_in_folder,
    options,
    reconcile,
    windows,
)

from beam_jobs.cluster import committer
from beam_jobs.cluster.follower import Follower
from beam_jobs.cluster.host import stream_on_cluster, submit
from beam_jobs.cluster.parcel import Parcel
from beam_jobs.cluster.restriction import Position
from beam_jobs.local_flink import LocalFlink, missing
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.local_kafka.broker import free_ports
from beam_jobs.sink import Reconciliation
from beam_jobs.stream import create_log, stream
from beam_jobs.stream_options import StreamOptions
from stream_prune.errors import RunError
from stream_prune.minibatch.open_log import open_log
from stream_prune.minibatch.place import KafkaPlace

TOPIC, ROWS = "clicks-for-flink", 8_000
CHECKPOINTS = {"shutdown_sources_after_idle_ms": 10**12}
"""Sources that never shut down: then Flink takes checkpoints as long as the job runs."""


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFlink]:
    """A Flink that the tests of this module share."""
    skip_if(missing())
    with LocalFlink(tmp_path_factory.mktemp("flink")) as running:
        yield running


@pytest.fixture(scope="module")
def ledger(broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A topic of four partitions, with faults."""
    create_topic(broker, TOPIC, 4)
    return fill(broker, TOPIC, tmp_path_factory.mktemp("in"), rows=ROWS, faults=FAULTS)


@pytest.fixture(scope="module")
def undisturbed(
    broker: LocalKafka, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> list[Any]:
    """The windows of the job on one machine."""
    log = tmp_path_factory.mktemp("one") / "log"
    stream(options(broker, TOPIC, log), to_end=True)
    return windows(log)


@pytest.fixture
def given(broker: LocalKafka, ledger: Ledger, flink: LocalFlink, tmp_path: Path) -> StreamOptions:
    """The same job on Flink."""
    return options(
        broker,
        TOPIC,
        tmp_path / "log",
        runner="flink",
        readers=4,
        runner_options={"job_endpoint": flink.endpoint},
    )


def check(given: StreamOptions, ledger: Ledger, undisturbed: list[Any]) -> None:
    log = Path(str(given.log))
    assert windows(log) == undisturbed
    letters = [(x["partition"], x["offset"], x["kind"]) for x in letters_in_folder(log)]
    reconcile(ledger, log, letters)


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(given: StreamOptions, **more: Any) -> Reconciliation:
    """The job run to its end, which must come: a runner that stands still fails the test."""
    deadline = time.monotonic() + 150
    done = stream_on_cluster(given, to_end=True, stop=lambda: time.monotonic() > deadline, **more)
    assert time.monotonic() < deadline
    return done


def committed(given: StreamOptions) -> list[Any]:
    log = Path(str(given.log))
    return windows(log) if (log / "log.json").exists() else []


def readings(given: StreamOptions) -> int:
    return len(list(Path(str(given.log)).glob("reading-*.json")))


def test_four_readers_make_the_windows_of_the_job_on_one_machine(
    given: StreamOptions, ledger: Ledger, undisturbed: list[Any]
) -> None:
    done = finished(given)
    wanted = counts(ledger)
    assert {kind: getattr(done, kind) for kind in wanted} == wanted
    assert min(wanted[k] for k in ("late", "duplicates", "invalid", "undecodable")) >= 10
    check(given, ledger, undisturbed)
    assert readings(given) == 1
    assert finished(given) == done


@pytest.fixture
def worker_pool() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Beam's pool of Python workers as a process of its own: its address, and the process."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # workers run plain `python`
    pool = subprocess.Popen(
        [*command, f"--service_port={port}"],
        env=os.environ | {"PATH": path},
        start_new_session=True,
    )
    yield f"localhost:{port}", pool
    os.killpg(pool.pid, signal.SIGKILL)
    pool.wait()


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost_or_there_twice(
    given: StreamOptions,
    ledger: Ledger,
    undisturbed: list[Any],
    worker_pool: tuple[str, subprocess.Popen[bytes]],
) -> None:
    address, pool = worker_pool
    own = {"environment_type": "EXTERNAL", "environment_config": address}
    given = replace(given, runner_options={**given.runner_options, **own})
    killed: list[Any] = []

    def kill_once(_: object) -> None:
        if not killed and committed(given):
            (worker,) = subprocess.check_output(["pgrep", "-P", str(pool.pid)]).split()
            os.kill(int(worker), signal.SIGKILL)
            killed.extend(committed(given))

    finished(given, progress=kill_once)
    assert killed
    check(given, ledger, undisturbed)


@pytest.mark.parametrize("lost", [{1}, {0, 1, 2, 3}])
def test_readers_that_the_runner_loses_are_noticed_and_another_submission_goes_on(
    given: StreamOptions,
    ledger: Ledger,
    undisturbed: list[Any],
    lost: set[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds, first = Follower.round, set[str]()

    def lost_at_first(self: Follower, at: Position) -> Iterator[tuple[bytes, Position]]:
        if self._reader in lost and self._reading is not None and first <= {self._job}:
            first.add(self._job)
            yield Parcel(0).encode(), replace(at, finished=True)
        else:
            yield from rounds(self, at)

    monkeypatch.setattr(Follower, "round", lost_at_first)
    monkeypatch.setattr(committer, "SILENT_SECONDS", 3.0)
    finished(given)
    assert "submitted again, from the log" in caplog.text
    assert readings(given) >= 2
    check(given, ledger, undisturbed)


def test_program_and_flink_killed_and_started_again_go_on_from_the_log(
    given: StreamOptions, ledger: Ledger, undisturbed: list[Any], flink: LocalFlink, tmp_path: Path
) -> None:
    values = {
        "run": str(tmp_path / "run"),
        "log": str(given.log),
        "source": {
            "kafka": {"bootstrap": given.kafka.bootstrap, "topics": [TOPIC]},
            "format": "json",
        },
        "features": SPEC.to_dict(),
        "windows": {
            "length": f"{WINDOW}ms",
            "out_of_orderness": f"{SLACK}ms",
            "batch_rows": given.batch_rows,
        },
        "max_bad_share": 0.1,
        "stream": {
            "runner": "flink",
            "runner_options": given.runner_options,
            "dead_letters": "folder",
            "epoch_rows": 1_000,
            "epoch": "200ms",
        },
    }
    path = tmp_path / "stream.yaml"
    path.write_text(yaml.safe_dump(values))
    start = "from stream_prune.cli.main import main; main()"
    program = [sys.executable, "-c", start, "stream", str(path)]
    running = subprocess.Popen(program, start_new_session=True)
    until(lambda: bool(committed(given)) or running.poll() is not None)
    assert running.poll() is None
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    flink.kill()
    before = committed(given)
    assert 0 < len(before) < len(undisturbed)
    flink.start()
    values["stream"]["runner_options"] = {"job_endpoint": flink.endpoint}  # type: ignore[index]
    path.write_text(yaml.safe_dump(values))
    done = subprocess.run([*program, "--to-end"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert committed(given)[: len(before)] == before
    check(given, ledger, undisturbed)
    assert readings(given) == 2


def test_cancelled_with_a_savepoint_and_restored_it_goes_on_from_the_log(
    given: StreamOptions, ledger: Ledger, undisturbed: list[Any], flink: LocalFlink
) -> None:
    create_log(given)
    checkpointed = replace(given, runner_options={**given.runner_options, **CHECKPOINTS})
    result = submit(checkpointed, uuid.uuid4().hex, to_end=False)
    until(lambda: bool(committed(given)))
    (job,) = flink.jobs()
    savepoint = flink.savepoint(job, cancel=True)
    until(lambda: not flink.jobs())
    result.cancel()
    before = committed(given)
    flink.restore_from(savepoint)
    try:
        finished(given)
    finally:
        flink.restore_from(None)
    assert "from Savepoint" in flink.output.read_text(errors="replace")
    assert committed(given)[: len(before)] == before
    check(given, ledger, undisturbed)


def test_a_join_on_a_topic_by_the_other_client_makes_the_labels_of_one_machine(
    broker: LocalKafka, flink: LocalFlink, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    events = joined.make_events()
    topics = new_topic(partitions=2), new_topic(partitions=1)
    joined.send(broker, topics, events)
    alone = joined.options(broker, topics, tmp_path / "alone")
    done = stream(alone, to_end=True)
    place = KafkaPlace(broker.bootstrap, f"{topics[0]}-log", patience_s=30)
    given = replace(
        alone,
        kafka=replace(alone.kafka, client="confluent"),
        log=place,
        runner="flink",
        readers=2,
        runner_options={"job_endpoint": flink.endpoint},
    )
    left = iter(range(8))  # looks into the log before it is stopped
    stream_on_cluster(given, to_end=True, stop=lambda: next(left, None) is None)
    assert finished(given) == done
    assert joined.labels_of(open_log(place)) == events[2]
    assert min(done.clicks, done.unmatched, done.late, done.duplicates) > 0


def test_what_stops_the_job_is_told_where_it_was_started(
    given: StreamOptions, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"rows cannot be used .* max_bad_share = 0\.001 allows"):
        stream_on_cluster(replace(given, max_bad_share=0.001), to_end=True)


def test_a_job_server_that_is_not_there_is_named(given: StreamOptions) -> None:
    (port,) = free_ports(1)
    nowhere = replace(given, runner_options={"job_endpoint": f"localhost:{port}"})
    with pytest.raises(RunError, match=f"no job server answers at localhost:{port}"):
        stream_on_cluster(nowhere, to_end=True)
