"""What the job asks of a Kafka client: the same of both, so that they can stand in for each other.

Partitions are assigned, never subscribed to: the mini-batch log says where reading goes on, and no
rebalance of a consumer group can move it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from beam_jobs.kafka_records import TOPIC_SPAN, KafkaRecords
from beam_jobs.kafka_settings import CONFLUENT, PLACE, KafkaSettings
from stream_prune.errors import ConfigError, RunError

REQUEST_SECONDS = 20.0
"""How long a request that cannot be done without may take."""

Message = Any
"""A record as the client returns it."""


class TopicReader(Protocol):
    """A client that reads assigned partitions; partitions go by their number in the log."""

    def partitions(self, seconds: float = REQUEST_SECONDS) -> dict[int, tuple[str, int]] | None:
        """Topic and partition by number, as the cluster says now; None if it does not answer.

        Args:
            seconds: how long to wait for the answer, if the client lets one choose.

        Raises:
            RunError: a topic does not exist.
        """

    def bounds(self, numbers: Collection[int]) -> dict[int, tuple[int, int]]:
        """The first offset that is still there, and the end, of partitions.

        Raises:
            RunError: the cluster does not answer.
        """

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""

    def name(self, number: int) -> tuple[str, int]:
        """Topic and partition of a number."""

    def assigned(self) -> Collection[int]:
        """The partitions that are being read."""

    def poll(self, most: int, seconds: float) -> dict[int, list[Message]]:
        """Up to ``most`` records by partition, in the order of offsets; waits for the first.

        Raises:
            RunError: records that were to be read are not there any more, or reading is refused.
        """

    def columns(self, number: int, messages: Sequence[Message]) -> list[KafkaRecords]:
        """Records of one partition as columns, split where the kind of timestamp changes.

        No records give one part without rows.
        """

    def position(self, number: int) -> int:
        """The offset that is read next."""

    def end(self, number: int) -> int | None:
        """The end of a partition as last heard of; None if nothing was heard yet."""

    def pause(self, numbers: Collection[int]) -> None:
        """Read all assigned partitions but these, until the next call."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the group's offsets to the cluster, without waiting; failures are passed over."""

    def close(self) -> None:
        """Let go of the cluster."""


def open_reader(settings: KafkaSettings) -> TopicReader:
    """A reader with the client that the settings name.

    Raises:
        ConfigError: the client is not installed, or refuses its settings.
        RunError: no broker answers.
    """
    if settings.client == CONFLUENT:
        try:
            from beam_jobs.confluent_reader import ConfluentReader
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{PLACE}.client = {CONFLUENT!r}: the package {error.name!r} is not installed: "
                "pip install 'stream-prune[confluent]', or say client: kafka-python"
            ) from None
        return ConfluentReader(settings)
    from beam_jobs.kafka_python_reader import KafkaPythonReader

    return KafkaPythonReader(settings)


def numbered(
    topics: Sequence[str], found: Mapping[str, Collection[int]]
) -> dict[int, tuple[str, int]]:
    """Topic and partition by number in the log.

    >>> numbered(["a", "b"], {"b": [0], "a": [1, 0]})
    {0: ('a', 0), 1: ('a', 1), 1000000: ('b', 0)}
    """
    return {
        place * TOPIC_SPAN + partition: (topic, partition)
        for place, topic in enumerate(topics)
        for partition in sorted(found[topic])
    }


def missing_topic(topic: str, settings: KafkaSettings) -> RunError:
    """The error for a topic that is not there."""
    return RunError(
        f"topic {topic!r} does not exist at {settings.bootstrap} (or must not be read): create it, "
        f"or name another in {PLACE}.topics; if it was deleted while this log was written, begin "
        "another mini-batch log with the new one"
    )


def lost_records(topic: str, partition: int, offset: int, bounds: tuple[int, int]) -> RunError:
    """The error for an offset that a partition does not have."""
    begin, end = bounds
    if offset < begin:
        what = (
            f"offsets {offset} to {begin - 1} are gone: the topic's retention has removed them "
            "before they were read: keep events longer than the job may stand still"
        )
    else:
        what = (
            f"it ends at offset {end}, and {offset} was to be read next: the topic was deleted and "
            "made anew, or the brokers have lost records"
        )
    return RunError(
        f"topic {topic!r}, partition {partition}: {what}. Nothing after it can be put in order "
        "with what is committed: begin another mini-batch log (another folder for `log`)"
    )


def no_broker(settings: KafkaSettings, error: object) -> RunError:
    """The error for a cluster that can't be reached."""
    return RunError(
        f"no broker answers at {settings.bootstrap}: {settings.told(error)}: start it, or correct "
        f"{PLACE}.bootstrap or the security settings in {PLACE}.consumer; nothing is lost"
    )
