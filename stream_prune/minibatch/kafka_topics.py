"""The topics of a log in Kafka: made once, and what they say about the log as a whole.

    TOPIC            batches, one partition a shard
    TOPIC.commits    claims and commits, one partition a shard
    TOPIC.about      the header, and what else is agreed on once
    TOPIC.dlq        dead letters, keyed by their position

Brokers delete nothing from them by age or size; what goes and when, the log's own retention says.
"""

from __future__ import annotations

from collections.abc import Mapping

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.kafka_clients import (
    GREATEST_MESSAGE,
    admin,
    patiently,
    producer,
    reason,
)
from stream_prune.minibatch.kafka_partition import PartitionReader
from stream_prune.minibatch.place import KafkaPlace

BATCHES, COMMITS, ABOUT, DEAD_LETTERS = "", ".commits", ".about", ".dlq"
HELD = "held by "
_SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(GREATEST_MESSAGE + (1 << 16)),
}


def create_topics(place: KafkaPlace, shards: int) -> None:
    """Create what is missing of a log's topics, by the brokers' default replication.

    Raises:
        ConfigError: a topic is there with another number of partitions, or compacts or deletes.
        RunError: the brokers refuse, or do not answer.
    """
    wanted = {BATCHES: shards, COMMITS: shards, ABOUT: 1, DEAD_LETTERS: shards}
    with admin(place) as client:
        there = patiently(place, client.list_topics)
        missing = [
            NewTopic(place.topic + suffix, partitions, -1, topic_configs=_SETTINGS)
            for suffix, partitions in wanted.items()
            if place.topic + suffix not in there
        ]
        try:
            if missing:
                client.create_topics(missing)
        except TopicAlreadyExistsError:
            pass  # somebody else was faster; what is there is looked at below
        except KafkaError as error:
            raise RunError(f"{place}: cannot create its topics: {reason(error)}") from error
        names = [place.topic + suffix for suffix in wanted]
        patiently(place, lambda: client.wait_for_topics(names))
        found = {t["name"]: len(t["partitions"]) for t in client.describe_topics(names)}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        settings = client.describe_configs(resources)["topic"]
    for suffix, partitions in wanted.items():
        name = place.topic + suffix
        if found[name] != partitions:
            raise ConfigError(
                f"{place}: topic {name} has {found[name]} partitions, not {partitions}: it is no "
                "topic of a log with these shards: use another topic"
            )
        _check_settings(place, name, settings[name])


def _check_settings(place: KafkaPlace, name: str, found: Mapping[str, Mapping[str, str]]) -> None:
    for setting in ("cleanup.policy", "retention.ms", "retention.bytes"):
        value = found[setting]["value"]
        if value != _SETTINGS[setting]:
            raise ConfigError(
                f"{place}: topic {name} has {setting} = {value}: must be {_SETTINGS[setting]}: "
                "brokers would remove what a trainer still needs; the log's own retention knows"
            )


def topic_exists(place: KafkaPlace, suffix: str) -> bool:
    """Whether the cluster has a topic of this log.

    Raises:
        RunError: the brokers do not answer.
    """
    with admin(place) as client:
        return place.topic + suffix in patiently(place, client.list_topics)


def agreed(place: KafkaPlace, name: str) -> bytes | None:
    """What was agreed on first under a name; None if nothing was.

    Raises:
        RunError: the brokers do not answer.
    """
    with PartitionReader(place, place.topic + ABOUT, 0) as reader:
        for record in reader.read(*reader.ends()):
            if record.key == name.encode():
                return bytes(record.value)
    return None


def latest(place: KafkaPlace, name: str) -> bytes | None:
    """What was said last under a name; None if nothing was.

    Raises:
        RunError: the brokers do not answer.
    """
    with PartitionReader(place, place.topic + ABOUT, 0) as reader:
        said = [
            record.value for record in reader.read(*reader.ends()) if record.key == name.encode()
        ]
    return bytes(said[-1]) if said else None


def say(place: KafkaPlace, name: str, text: bytes) -> None:
    """Say something about the log, which holds until something else is said.

    Raises:
        RunError: the brokers do not answer.
    """
    client = producer(place)
    try:
        future = client.send(place.topic + ABOUT, value=text, key=name.encode(), partition=0)
        patiently(place, lambda: future.get(timeout=place.patience_s))
    finally:
        client.close(timeout=1)


def held(place: KafkaPlace) -> dict[str, int]:
    """By reader, the window end (ms) up to which it needs nothing any more.

    Raises:
        RunError: the brokers do not answer.
    """
    with PartitionReader(place, place.topic + ABOUT, 0) as reader:
        records = reader.read(*reader.ends())
    mine = [record for record in records if record.key.startswith(HELD.encode())]
    return {record.key.decode(): int(record.value) for record in mine}


def remove_before(place: KafkaPlace, offsets: Mapping[int, int]) -> None:
    """Remove the messages of batches before an offset, by partition.

    Raises:
        RunError: the brokers refuse, or do not answer.
    """
    wanted = {TopicPartition(place.topic, n): offset for n, offset in offsets.items()}
    with admin(place) as client:
        patiently(place, lambda: client.delete_records(wanted))


def agree(place: KafkaPlace, name: str, text: bytes) -> bytes:
    """Say something about the log once: whoever was first has said it for all.

    Returns:
        What the log says under that name from now on: ``text``, or what was there before.

    Raises:
        RunError: the brokers do not answer.
    """
    before = agreed(place, name)
    if before is not None:
        return before
    say(place, name, text)
    found = agreed(place, name)
    assert found is not None
    return found
