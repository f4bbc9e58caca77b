"""What a job lives on goes away: disk, brokers, registry, its place in the group."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from running_job import Running
from streams import fill, forms, kept, letters_in_folder, options, reconcile, windows

from beam_jobs import avro_schemas
from beam_jobs import stream_job as job
from beam_jobs.avro_format import AvroFormat
from beam_jobs.decode import Formats
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.stream import stream
from beam_jobs.stream_job import Epoch
from stream_prune.errors import RunError

NewTopic = Callable[..., str]
AWAY_S = 8.0
"""The soak has a whole minute; this is longer than a client's own retries of one request."""


def _found(log: Path) -> list[tuple[int, int, str]]:
    return [(x["partition"], x["offset"], x["kind"]) for x in letters_in_folder(log)]


@pytest.mark.parametrize(
    ("code", "after"), [(errno.ENOSPC, 0), (errno.ENOSPC, 25), (errno.EROFS, 0), (errno.EROFS, 25)]
)
def test_a_log_folder_that_is_full_or_read_only_stops_the_job_and_nothing_is_lost_or_twice(
    broker: LocalKafka, new_topic: NewTopic, tmp_path: Path, monkeypatch, code: int, after: int
) -> None:
    topic = new_topic()
    ledger = fill(broker, topic, tmp_path / "in", rows=1_500)
    given = options(broker, topic, tmp_path / "log", epoch_rows=150)
    stream(replace(given, log=tmp_path / "whole"), to_end=True)
    opened, left = io.open, [after]

    def refuse(path: object, mode: str = "r", *more: object, **named: object) -> object:
        if str(path).startswith(str(given.log)) and "x" in mode:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(code, os.strerror(code))
        return opened(path, mode, *more, **named)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", refuse)
        with pytest.raises(RunError, match=rf"{given.log}.+: {os.strerror(code)}"):
            stream(given, to_end=True)
    assert left[0] < 0
    stream(given, to_end=True)
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    reconcile(ledger, tmp_path / "log", _found(tmp_path / "log"))


def test_brokers_that_are_away_for_a_while_are_waited_for_and_the_job_says_so(
    own_broker: LocalKafka, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(job, "METADATA_SECONDS", 0.5)
    ledger = fill(own_broker, "clicks", tmp_path / "in", rows=800)
    own_broker.stop()
    own_broker.start()
    seen: dict[str, list[Epoch]] = {"kafka-python": [], "confluent": []}
    running = [
        Running(
            options(own_broker, "clicks", tmp_path / client, client=client, idle="leave"),
            told.append,
        )
        for client, told in seen.items()
    ]
    with running[0], running[1]:
        _poll(lambda: all(told and told[-1].lag == 0 for told in seen.values()))
        own_broker.kill()
        gone = time.monotonic()
        _poll(
            lambda: (
                all((told[-1].silent_seconds or 0) > AWAY_S / 2 for told in seen.values())
                and time.monotonic() > gone + AWAY_S
            )
        )
        own_broker.start()
        _poll(lambda: all(told[-1].silent_seconds is None for told in seen.values()))
    assert not [error for one in running for error in one.error]
    for client in seen:
        done = stream(options(own_broker, "clicks", tmp_path / client, client=client), to_end=True)
        assert done.rows == len(ledger)
    assert windows(tmp_path / "kafka-python") == windows(tmp_path / "confluent")


def test_others_that_join_and_leave_the_consumer_group_move_nothing(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topic = new_topic()
    ledger = fill(broker, topic, tmp_path / "in", rows=1_500)
    given = options(broker, topic, tmp_path / "log", client=client, group=topic, epoch_rows=60)
    others: list[KafkaConsumer] = []

    def join_or_leave(epoch: Epoch) -> None:
        if len(others) < 2:
            others.append(
                KafkaConsumer(
                    topic,
                    bootstrap_servers=broker.bootstrap,
                    group_id=topic,
                    enable_auto_commit=False,
                )
            )
            others[-1].poll(timeout_ms=500)
        elif others[0] is not None and epoch.windows:
            others[0].close()

    stream(given, to_end=True, progress=join_or_leave)
    for other in others:
        other.close()
    assert len(others) == 2
    reconcile(ledger, tmp_path / "log", _found(tmp_path / "log"))


@contextmanager
def _registry(schemas: dict[int, str], down: threading.Event) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if down.is_set() else 200)
            self.end_headers()
            found = schemas[int(self.path.rpartition("/")[2])]
            self.wfile.write(json.dumps({"schema": found}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_registry_that_is_away_is_waited_for_and_then_stops_the_job_and_nothing_is_lost(
    broker: LocalKafka, new_topic: NewTopic, tmp_path: Path, monkeypatch
) -> None:
    topic = new_topic()
    files = tmp_path / "in"
    ledger = fill(broker, topic, files, rows=1_500, form="confluent")
    ids = forms("confluent", files).avro.ids
    down = threading.Event()
    monkeypatch.setattr(avro_schemas, "_PAUSE_SECONDS", 0.01)
    with _registry({number: path.read_text() for number, path in ids.items()}, down) as address:
        given = options(
            broker,
            topic,
            tmp_path / "log",
            epoch_rows=300,
            forms=Formats("avro", avro=AvroFormat(framing="confluent", registry=address)),
        )
        down.set()
        with monkeypatch.context() as patch:
            patch.setattr(avro_schemas, "PATIENCE_SECONDS", 0.2)
            with pytest.raises(RunError, match=rf"{address}.*has not answered.*nothing is lost"):
                stream(given, to_end=True)
        assert kept(tmp_path / "log") == []
        timer = threading.Timer(1.0, down.clear)
        timer.start()
        stream(given, to_end=True)  # down for a second more
        timer.join()
    reconcile(ledger, tmp_path / "log", _found(tmp_path / "log"))


def _poll(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
