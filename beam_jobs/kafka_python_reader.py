"""Reading with kafka-python, which needs nothing but Python."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    AuthorizationError,
    KafkaConfigurationError,
    KafkaError,
    OffsetOutOfRangeError,
)

from beam_jobs.kafka_records import KafkaRecords
from beam_jobs.kafka_settings import PLACE, KafkaSettings
from beam_jobs.topic_reader import (
    REQUEST_SECONDS,
    Message,
    lost_records,
    missing_topic,
    no_broker,
    numbered,
)
from stream_prune.errors import ConfigError, RunError

_LOG_APPEND_TIME = 1
_MOST_AT_ONCE = 5_000  # so that an epoch ends in time
_DEFAULTS: dict[str, Any] = {
    "client_id": "stream-prune",
    "isolation_level": "read_committed",  # as librdkafka does: what was rolled back is no event
    "max_poll_records": _MOST_AT_ONCE,
    "max_partition_fetch_bytes": 4 << 20,
    "reconnect_backoff_max_ms": 2_000,  # a broker that is back should be read again soon
    "bootstrap_timeout_ms": int(REQUEST_SECONDS * 1000),
}
_log = logging.getLogger(__name__)


class KafkaPythonReader:
    """A :class:`~beam_jobs.topic_reader.TopicReader` on kafka-python."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        own = {
            "bootstrap_servers": settings.bootstrap.split(","),
            "group_id": settings.group,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "allow_auto_create_topics": False,
        }
        try:
            self._consumer = KafkaConsumer(**{**_DEFAULTS, **settings.for_consumer(), **own})
            # One topic's metadata come and go with its partitions; all of them are a question.
            self._consumer.topics()
        except (KafkaConfigurationError, AssertionError, TypeError, ValueError) as error:
            raise ConfigError(f"{PLACE}.consumer: {settings.told(error)}") from None
        except KafkaError as error:
            raise no_broker(settings, error) from None
        self._names: dict[int, tuple[str, int]] = {}
        self._numbers: dict[tuple[str, int], int] = {}
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()

    def partitions(
        self,
        seconds: float = REQUEST_SECONDS,  # noqa: ARG002  the client's own time limits hold
    ) -> dict[int, tuple[str, int]] | None:
        try:
            there = self._consumer.topics()
        except KafkaError as error:
            _log.info("metadata: %s", error)
            return None
        found = {}
        for topic in self._settings.topics:
            found[topic] = self._consumer.partitions_for_topic(topic) if topic in there else ()
            if not found[topic]:
                raise missing_topic(topic, self._settings)
        self._names = numbered(self._settings.topics, found)
        self._numbers = {name: number for number, name in self._names.items()}
        return self._names

    def _places(self, numbers: Collection[int]) -> list[TopicPartition]:
        return [TopicPartition(*self._names[number]) for number in numbers]

    def bounds(self, numbers: Collection[int]) -> dict[int, tuple[int, int]]:
        places = self._places(numbers)
        try:
            begins = self._consumer.beginning_offsets(places)
            ends = self._consumer.end_offsets(places)
        except KafkaError as error:
            raise no_broker(self._settings, error) from None
        return {n: (begins[p], ends[p]) for n, p in zip(numbers, places, strict=True)}

    def assign(self, positions: Mapping[int, int]) -> None:
        self._positions, self._paused = dict(positions), set()
        self._consumer.assign(self._places(positions))
        for number, offset in positions.items():
            self._consumer.seek(TopicPartition(*self._names[number]), offset)

    def name(self, number: int) -> tuple[str, int]:
        return self._names[number]

    def assigned(self) -> Collection[int]:
        return self._positions.keys()

    def poll(self, most: int, seconds: float) -> dict[int, list[Message]]:
        started = time.monotonic()
        try:
            found = self._consumer.poll(
                timeout_ms=int(seconds * 1000), max_records=min(most, _MOST_AT_ONCE)
            )
        except OffsetOutOfRangeError:
            raise self._lost() from None
        except AuthorizationError as error:
            raise RunError(f"reading from Kafka: {self._settings.told(error)}") from None
        except KafkaError as error:  # a broker that is away: the client tries again
            _log.info("poll: %s", error)
            time.sleep(max(0.0, min(0.1, seconds - (time.monotonic() - started))))
            return {}
        result = {}
        for place, messages in found.items():
            number = self._numbers[place.topic, place.partition]
            result[number] = messages
        for number in self._positions:
            self._positions[number] = self._consumed(number, result.get(number))
        return result

    def _consumed(self, number: int, messages: Sequence[Message] | None) -> int:
        """The next offset: it may lie behind the last record, past the end of a transaction."""
        if messages:
            return int(messages[-1].offset) + 1
        place = TopicPartition(*self._names[number])
        known = self._consumer.position(place, timeout_ms=0)
        return max(self._positions[number], known or 0)

    def _lost(self) -> RunError:
        bounds = self.bounds(list(self._positions))
        for number, offset in self._positions.items():
            begin, end = bounds[number]
            if not begin <= offset <= end:
                return lost_records(*self._names[number], offset, bounds[number])
        return RunError(f"an offset of {', '.join(self._settings.topics)} is not there any more")

    def columns(self, number: int, messages: Sequence[Message]) -> list[KafkaRecords]:
        kinds = [message.timestamp_type for message in messages]
        bounds = [0, *(i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]), len(kinds)]
        parts = []
        for first, last in pairwise(bounds):
            part = messages[first:last]
            parts.append(
                KafkaRecords.of(
                    *self._names[number],
                    [message.offset for message in part],
                    [message.timestamp for message in part],
                    [message.key for message in part],
                    [message.value for message in part],
                    [message.headers for message in part],
                    kinds[first : first + 1] == [_LOG_APPEND_TIME],
                )
            )
        return parts

    def position(self, number: int) -> int:
        return self._positions[number]

    def end(self, number: int) -> int | None:
        known: int | None = self._consumer.highwater(TopicPartition(*self._names[number]))
        return known

    def pause(self, numbers: Collection[int]) -> None:
        wanted = set(numbers)
        if wanted != self._paused:
            self._consumer.resume(*self._places(self._paused - wanted))
            self._consumer.pause(*self._places(wanted - self._paused))
            self._paused = wanted

    def commit(self, offsets: Mapping[int, int]) -> None:
        if self._settings.group is None:
            return
        places = self._places(offsets)
        told = {
            place: OffsetAndMetadata(offset, "", -1)
            for place, offset in zip(places, offsets.values(), strict=True)
        }
        try:
            self._consumer.commit_async(told)
        except KafkaError as error:
            _log.info("offsets were not committed: %s", error)

    def close(self) -> None:
        self._consumer.close()
