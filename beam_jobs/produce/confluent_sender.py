"""confluent-kafka as a sender."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.produce import waits
from beam_jobs.produce.sender import no_delivery
from stream_prune.errors import ConfigError, RunError

_log = logging.getLogger(__name__)


class ConfluentSender:
    """librdkafka: batches of messages, handed over without a Python call each."""

    def __init__(self, settings: KafkaSettings) -> None:
        from confluent_kafka import KafkaException, Producer
        from confluent_kafka.admin import AdminClient

        self._error: str | None = None
        self._settings = settings
        own: dict[str, Any] = {"bootstrap.servers": settings.bootstrap, "logger": _log}
        fast: dict[str, Any] = {
            "linger.ms": 5,
            "compression.type": "lz4",
            "batch.size": 1 << 19,
            "queue.buffering.max.messages": 2 * waits.MOST_MESSAGES,
            "queue.buffering.max.kbytes": 1 << 18,
            "message.timeout.ms": int(waits.WAIT_S * 1000),
            "client.id": "stream-prune",
        }
        fixed = own | {
            "enable.idempotence": True,
            "delivery.report.only.error": True,
            "on_delivery": self._failed,
        }
        given = settings.for_producer()
        try:
            self._producer = Producer({**fast, **given, **fixed})
            self._admin = AdminClient({**given, **own})
        except (KafkaException, TypeError, ValueError) as error:
            raise ConfigError(f"source.kafka.producer: {settings.told(error)}") from None

    def make_topic(self, topic: str, partitions: int) -> None:
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        asked = self._admin.create_topics(
            [NewTopic(topic, partitions)], request_timeout=waits.ANSWER_S
        )
        try:
            asked[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._trouble(error) from None

    def ends(self, topic: str) -> list[int]:
        from confluent_kafka import KafkaException

        deadline = time.monotonic() + waits.ANSWER_S
        while True:
            try:
                return self._ends(topic)
            except KafkaException as error:  # a topic that was just made may have no leader yet
                if time.monotonic() > deadline:
                    raise self._trouble(error) from None
                time.sleep(0.1)

    def _ends(self, topic: str) -> list[int]:
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        found = self._admin.list_topics(topic, timeout=waits.ANSWER_S).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        last = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(topic, p): last for p in found.partitions}
        listed = self._admin.list_offsets(wanted, request_timeout=waits.ANSWER_S)
        offsets = {place.partition: asked.result().offset for place, asked in listed.items()}
        return [offsets[p] for p in sorted(offsets)]

    def send(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes],
        keys: Sequence[bytes] | None,
    ) -> None:
        # Never full: of a batch that finds the queue full, a later message could go first.
        while len(self._producer) + len(values) > waits.MOST_MESSAGES and len(self._producer):
            self._producer.poll(0.01)
            self._check()
        if keys is None:
            messages: list[dict[str, Any]] = [{"value": value} for value in values]
        else:
            pairs = zip(values, keys, strict=True)
            messages = [{"value": value, "key": key} for value, key in pairs]
        taken = self._producer.produce_batch(topic, messages, partition)
        if taken < len(messages):
            reasons = {str(m["_error"]) for m in messages if "_error" in m}
            raise RunError(f"{topic}: cannot be sent: {'; '.join(sorted(reasons))}")
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        left = self._producer.flush(waits.WAIT_S)
        self._check()
        if left:
            raise self._trouble(f"{left:,} messages have not arrived after {waits.WAIT_S:.0f} s")

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(1.0)

    def _failed(self, error: Any, _: Any) -> None:
        self._error = self._error or str(error)

    def _check(self) -> None:
        if self._error is not None:
            raise self._trouble(self._error)

    def _trouble(self, error: object) -> RunError:
        return no_delivery(self._settings, error)
