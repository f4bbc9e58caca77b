from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from real_broker import create_topic, folder_for_a_broker

from beam_jobs.local_kafka import LocalKafka, missing
from beam_jobs.local_kafka.jars import VERSION, cache_folder, fetch_jars
from stream_prune.errors import ConfigError, RunError

ROOT = Path(__file__).parents[2]


def send(broker: LocalKafka, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    for value in values:
        producer.send(topic, value, partition=0)
    producer.flush()
    producer.close()


def read(broker: LocalKafka, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, consumer_timeout_ms=20_000)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    values = [message.value for _, message in zip(range(count), consumer, strict=False)]
    consumer.close()
    return values


def test_what_is_sent_is_read_again(broker: LocalKafka, new_topic: Callable[..., str]) -> None:
    topic = new_topic(partitions=2)
    send(broker, topic, b"one", b"two")
    assert read(broker, topic, 2) == [b"one", b"two"]


def test_a_killed_broker_comes_back_with_its_data_at_the_same_address(
    own_broker: LocalKafka,
) -> None:
    topic = create_topic(own_broker, "events", 1)
    send(own_broker, topic, b"before")
    address, first = own_broker.bootstrap, own_broker.pid
    own_broker.kill()
    assert own_broker.pid is None
    own_broker.start()
    assert own_broker.pid != first
    assert own_broker.bootstrap == address
    send(own_broker, topic, b"after")
    assert read(own_broker, topic, 2) == [b"before", b"after"]
    pid = own_broker.pid
    own_broker.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither java nor mvn nor fetched jars; returns the folder that is the PATH."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("beam_jobs.local_kafka.java.packaged_java", lambda: None)
    return programs


def test_without_java_it_says_how_to_get_it(bare_machine: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs java, which is not here: install Java 17"):
        LocalKafka(tmp_path / "kafka").start()


def test_without_maven_it_says_how_to_get_it(bare_machine: Path, tmp_path: Path) -> None:
    (bare_machine / "java").write_text("#!/bin/sh\n")
    (bare_machine / "java").chmod(0o755)
    with pytest.raises(ConfigError, match="needs mvn, which is not here: install Maven"):
        LocalKafka(tmp_path / "kafka").start()
    cache_folder().mkdir(parents=True)
    assert missing() is None  # Maven is needed to fetch the jars, not to run them


MAVEN = """#!/bin/sh
echo called >> {calls}
for argument; do case $argument in -DoutputDirectory=*) out=${{argument#*=}};; esac; done
mkdir -p "$out" && sleep .2 && touch "$out/kafka_2.13.jar"
"""


def test_two_processes_that_need_the_jars_fetch_them_once(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{bare_machine}:/usr/bin:/bin")
    maven, calls = bare_machine / "mvn", tmp_path / "calls"
    maven.write_text(MAVEN.format(calls=calls))
    maven.chmod(0o755)
    found: list[Path] = []
    asking = [
        threading.Thread(target=lambda: found.append(fetch_jars(maven, Path("/opt/java/bin/java"))))
        for _ in range(3)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert found == [cache_folder()] * 3
    assert [jar.name for jar in cache_folder().iterdir()] == ["kafka_2.13.jar"]
    assert calls.read_text().count("called") == 1


def test_a_fetch_that_fails_leaves_no_folder_and_says_what_maven_said(
    bare_machine: Path, tmp_path: Path
) -> None:
    maven = bare_machine / "mvn"
    maven.write_text("#!/bin/sh\necho 'Unknown host: central' >&2; exit 1\n")
    maven.chmod(0o755)
    with pytest.raises(RunError, match=f"(?s)mvn could not fetch Kafka {VERSION}.*Unknown host"):
        fetch_jars(maven, Path("/opt/java/bin/java"))
    assert not cache_folder().exists()


def test_a_broker_that_cannot_start_says_what_kafka_said(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    broker = LocalKafka(
        folder_for_a_broker(tmp_path_factory), settings={"log.segment.bytes": "no-number"}
    )
    with pytest.raises(RunError, match="no-number"):
        broker.start()
    assert broker.pid is None


def test_without_java_and_maven_the_broker_tests_are_skipped_and_in_ci_they_fail(
    bare_machine: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REQUIRE_BROKER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs java, which is not here"):
        folder_for_a_broker(tmp_path_factory)
    monkeypatch.setenv("REQUIRE_BROKER", "1")
    with pytest.raises(pytest.fail.Exception, match=r"REQUIRE_BROKER=1: .*needs java"):
        folder_for_a_broker(tmp_path_factory)


def test_in_ci_make_test_requires_the_broker() -> None:
    def said(**environment: str) -> str:
        command = ["make", "-n", "--always-make", "test"]
        plain = {k: v for k, v in os.environ.items() if k not in ("CI", "REQUIRE_BROKER")}
        return subprocess.run(
            command, cwd=ROOT, env=plain | environment, capture_output=True, text=True
        ).stdout

    assert "REQUIRE_BROKER=1" in said(CI="true")
    assert "REQUIRE_BROKER=1" not in said()


def test_a_program_that_fails_leaves_no_broker_behind(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = folder_for_a_broker(tmp_path_factory)
    program = (
        "import sys; from pathlib import Path; from beam_jobs.local_kafka import LocalKafka\n"
        "print(LocalKafka(Path(sys.argv[1])).start().pid, flush=True); sys.exit('failed')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
