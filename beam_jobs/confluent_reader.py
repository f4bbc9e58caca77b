"""Reading with confluent-kafka (librdkafka), which fetches in threads of its own."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
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

_FAST = {
    "fetch.queue.backoff.ms": 5,  # the default of 1000 stalls catching up
    "queued.min.messages": 100_000,
    "queued.max.messages.kbytes": 65_536,
    # The monitoring of a cluster should see who reads.
    "client.id": "stream-prune",
}
_MOST_AT_ONCE = 10_000
_log = logging.getLogger(__name__)


class ConfluentReader:
    """A :class:`~beam_jobs.topic_reader.TopicReader` on librdkafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        own = {
            "bootstrap.servers": settings.bootstrap,
            "group.id": settings.group or "stream-prune",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "error_cb": self._hear,
            "logger": _log,
        }
        try:
            self._consumer = Consumer({**_FAST, **settings.for_consumer(), **own})
        except (KafkaException, TypeError, ValueError) as error:
            raise ConfigError(f"{PLACE}.consumer: {settings.told(error)}") from None
        self._names: dict[int, tuple[str, int]] = {}
        self._numbers: dict[tuple[str, int], int] = {}
        self._positions: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._paused: set[int] = set()
        self._refused: KafkaError | None = None
        if self._metadata(REQUEST_SECONDS) is None:
            self._consumer.close()
            raise no_broker(settings, self._refused or "no answer")

    def _hear(self, error: KafkaError) -> None:
        """Errors that librdkafka goes on trying after; the first refusal tells why."""
        self._refused = error

    def _metadata(self, seconds: float) -> Any:
        try:
            return self._consumer.list_topics(timeout=seconds)
        except KafkaException as error:
            self._refused = self._refused or error.args[0]
            return None

    def partitions(self, seconds: float = REQUEST_SECONDS) -> dict[int, tuple[str, int]] | None:
        metadata = self._metadata(seconds)
        if metadata is None:
            return None
        for topic in self._settings.topics:
            if topic not in metadata.topics or not metadata.topics[topic].partitions:
                raise missing_topic(topic, self._settings)
        found = {topic: metadata.topics[topic].partitions for topic in self._settings.topics}
        self._names = numbered(self._settings.topics, found)
        self._numbers = {name: number for number, name in self._names.items()}
        return self._names

    def bounds(self, numbers: Collection[int]) -> dict[int, tuple[int, int]]:
        found = {}
        for number in numbers:
            place = TopicPartition(*self._names[number])
            try:
                found[number] = self._consumer.get_watermark_offsets(
                    place, timeout=REQUEST_SECONDS, cached=False
                )
            except KafkaException as error:
                raise no_broker(self._settings, error) from None
        self._ends |= {number: end for number, (_, end) in found.items()}
        return found

    def assign(self, positions: Mapping[int, int]) -> None:
        self._positions, self._paused = dict(positions), set()
        self._consumer.assign(
            [TopicPartition(*self._names[n], offset) for n, offset in positions.items()]
        )

    def name(self, number: int) -> tuple[str, int]:
        return self._names[number]

    def assigned(self) -> Collection[int]:
        return self._positions.keys()

    def poll(self, most: int, seconds: float) -> dict[int, list[Message]]:
        try:
            messages = self._consumer.consume(min(most, _MOST_AT_ONCE), seconds)
        except KafkaException as error:
            raise RunError(f"reading from Kafka: {self._settings.told(error)}") from None
        found: dict[int, list[Message]] = defaultdict(list)
        by_name: dict[Any, list[Message]] = defaultdict(list)
        if any([message.error() is not None for message in messages]):  # noqa: C419  faster so
            for message in messages:
                if message.error() is not None:
                    self._take_error(message)
            messages = [message for message in messages if message.error() is None]
        for first, last, name in self._runs(messages):
            by_name[name] += messages[first:last]
        for name, those in by_name.items():
            number = self._numbers[name]
            found[number] = those
            self._positions[number] = max(self._positions[number], those[-1].offset() + 1)
        return found

    def _runs(self, messages: Sequence[Message]) -> Iterator[tuple[int, int, tuple[str, int]]]:
        """Where messages of one partition follow one another, with its name."""
        partitions = [message.partition() for message in messages]
        changes = [i for i, (a, b) in enumerate(pairwise(partitions), 1) if a != b]
        if len(self._settings.topics) > 1:
            topics = [message.topic() for message in messages]
            changes = sorted(
                {*changes, *(i for i, (a, b) in enumerate(pairwise(topics), 1) if a != b)}
            )
        for first, last in pairwise([0, *changes, len(messages)] if messages else []):
            yield first, last, (messages[first].topic(), partitions[first])

    def _take_error(self, message: Message) -> None:
        error, name = message.error(), (message.topic(), message.partition())
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            # The end may lie behind the last record: what ends a transaction takes an offset.
            number = self._numbers[name]
            self._positions[number] = max(self._positions[number], message.offset())
            self._ends[number] = max(self._ends.get(number, 0), message.offset())
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            number = self._numbers[name]
            bounds = self.bounds([number])[number]
            raise lost_records(*name, self._positions[number], bounds)
        elif code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            # Said of a broker that has just started, too: only the whole cluster's word counts.
            self.partitions()
        elif (
            code
            in (
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
                KafkaError.GROUP_AUTHORIZATION_FAILED,
            )
            or error.fatal()
        ):
            raise RunError(f"topic {name[0]!r}: {self._settings.told(error)}")
        else:
            _log.info("%s: %s", name, error)

    def columns(self, number: int, messages: Sequence[Message]) -> list[KafkaRecords]:
        stamps = [message.timestamp() for message in messages]
        kinds, times = [kind for kind, _ in stamps], [time for _, time in stamps]
        bounds = [0, *(i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]), len(kinds)]
        parts = []
        for first, last in pairwise(bounds):
            part = messages[first:last]
            parts.append(
                KafkaRecords.of(
                    *self._names[number],
                    _offsets(part),
                    times[first:last],
                    [message.key() for message in part],
                    [message.value() for message in part],
                    [message.headers() for message in part],
                    kinds[first : first + 1] == [TIMESTAMP_LOG_APPEND_TIME],
                )
            )
        return parts

    def position(self, number: int) -> int:
        return self._positions[number]

    def end(self, number: int) -> int | None:
        place = TopicPartition(*self._names[number])
        try:
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
        except KafkaException:
            end = -1
        self._ends[number] = max(self._ends.get(number, -1), end, self._positions[number])
        return self._ends[number]

    def pause(self, numbers: Collection[int]) -> None:
        def places(chosen: Collection[int]) -> list[TopicPartition]:
            return [TopicPartition(*self._names[number]) for number in chosen]

        wanted = set(numbers)
        if wanted != self._paused:
            self._consumer.resume(places(self._paused - wanted))
            self._consumer.pause(places(wanted - self._paused))
            self._paused = wanted

    def commit(self, offsets: Mapping[int, int]) -> None:
        if self._settings.group is None:
            return
        places = [TopicPartition(*self._names[n], o) for n, o in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            _log.info("offsets were not committed: %s", error)

    def close(self) -> None:
        self._consumer.close()


def _offsets(messages: Sequence[Message]) -> npt.NDArray[np.int64] | list[int]:
    """The offset of each message; where none is left out, without asking each."""
    if not messages:
        return []
    first, last = messages[0].offset(), messages[-1].offset()
    if last - first == len(messages) - 1:
        return np.arange(first, last + 1)
    return [message.offset() for message in messages]
