"""Partitions that stand still, are ahead, come, go, or have lost what was to be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewPartitions
from running_job import Running, send
from streams import SLACK, WINDOW, kept, options

from beam_jobs import stream_job as job
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.stream import stream
from beam_jobs.stream_job import Epoch
from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.folder_log import FolderLog

NewTopic = Callable[..., str]


@pytest.mark.parametrize("idle", ["wait", "leave", "wall_clock"])
def test_an_idle_partition_holds_the_clock_leaves_or_follows_the_wall(
    broker: LocalKafka, new_topic: NewTopic, idle: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(job, "METADATA_SECONDS", 0.3)
    topic = new_topic(2)
    now = int(time.time() * 1000) // WINDOW * WINDOW
    start = now - 20 * WINDOW
    send(broker, topic, 0, [start + 1, start + WINDOW + SLACK, start + 2 * WINDOW + SLACK])
    send(broker, topic, 1, [start + 2])
    given = options(broker, topic, tmp_path / "log", idle=idle, idle_ms=500)
    with Running(given) as running:
        if idle == "wait":
            with pytest.raises(AssertionError, match="nothing came"):
                running.until(1, seconds=4)
            send(broker, topic, 1, [start + WINDOW + SLACK])
            running.until(2)
        else:
            running.until({"leave": 3, "wall_clock": 4}[idle])
    last = FolderLog.open(tmp_path / "log").commits(0)[-1][1].window_end
    assert last == {"wait": start + WINDOW, "leave": start + 2 * WINDOW}.get(idle, last)
    if idle == "wall_clock":
        assert last >= now - WINDOW


def test_partitions_that_are_ahead_are_held_back_while_too_many_rows_wait(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topic = new_topic(2)
    times = [i * 1_000 for i in range(600)]
    send(broker, topic, 1, times[:2])
    send(broker, topic, 0, times)
    seen: list[Epoch] = []
    given = options(
        broker, topic, tmp_path / "log", client=client, max_open_rows=100, epoch_rows=50
    )
    with Running(given, seen.append) as running:
        deadline = time.monotonic() + 60
        while not any(epoch.held_back for epoch in seen):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        send(broker, topic, 1, [time_ms + 1 for time_ms in times[2:]])
        running.until(2 * times.index(8 * WINDOW))
    assert not running.error
    assert max(epoch.open_rows for epoch in seen) <= 400


def test_partitions_of_several_topics_have_numbers_of_their_own(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topics = (new_topic(2), new_topic(1))
    for topic, partition, start in ((topics[0], 0, 0), (topics[0], 1, 1), (topics[1], 0, 2)):
        send(broker, topic, partition, list(range(start, 90, 3)))
    given = options(broker, topics[0], tmp_path / "log", client=client)
    done = stream(replace(given, kafka=replace(given.kafka, topics=topics)), to_end=True)
    assert done.good == 90
    wanted = [(n, o) for n in (0, 1, 1_000_000) for o in range(30)]
    assert sorted(kept(tmp_path / "log")) == wanted
    with pytest.raises(ConfigError, match=r"topics\[?0?\]? .*in the log|topics is"):
        stream(given, to_end=True)


def test_an_added_partition_is_read_from_its_beginning(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(job, "METADATA_SECONDS", 0.3)
    topic = new_topic(1)
    send(broker, topic, 0, [1])
    with Running(options(broker, topic, tmp_path / "log", client=client)) as running:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_partitions({topic: NewPartitions(2)})
        admin.close()
        send(broker, topic, 1, [2, WINDOW + SLACK])
        time.sleep(1)
        send(broker, topic, 0, [WINDOW + SLACK])
        running.until(2)
    assert not running.error
    assert sorted(kept(tmp_path / "log")) == [(0, 0), (1, 0)]


def test_a_deleted_topic_stops_the_job_with_the_reason(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(job, "METADATA_SECONDS", 0.3)
    topic = new_topic(1)
    send(broker, topic, 0, [1, WINDOW + SLACK])
    given = options(broker, topic, tmp_path / "log", client=client)
    with Running(given) as running:
        running.until(1)
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.delete_topics([topic])
        admin.close()
        assert f"topic {topic!r} does not exist" in str(running.fails())
    with pytest.raises(RunError, match="does not exist"):
        stream(given)


def test_events_that_retention_took_away_stop_a_restart(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topic = new_topic(1)
    send(broker, topic, 0, [1, WINDOW + SLACK, 2 * WINDOW])
    given = options(broker, topic, tmp_path / "log", client=client)
    with Running(given) as running:
        running.until(1)
    send(broker, topic, 0, [3 * WINDOW, 4 * WINDOW])
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.delete_records({TopicPartition(topic, 0): 4})
    admin.close()
    with pytest.raises(RunError, match=r"offsets 0 to 3 are gone: the topic's retention"):
        stream(given)
