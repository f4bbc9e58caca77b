"""The two Kafka clients as senders of encoded messages; both keep the order within a partition."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from beam_jobs.kafka_settings import CONFLUENT, KafkaSettings
from stream_prune.errors import ConfigError, RunError

_log = logging.getLogger(__name__)

WAIT_S = 60.0
"""How long a broker may be away before sending gives up."""

ANSWER_S = 10.0
"""How long a question to a broker may take, the first one above all."""

_MOST_WAITING = 200_000


class Sender(Protocol):
    """What playing a log needs of a client."""

    def make_topic(self, topic: str, partitions: int) -> None:
        """Make the topic if it is not there; one that is there stays as it is."""

    def ends(self, topic: str) -> list[int]:
        """The offset after the last message of each partition."""

    def send(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes],
        keys: Sequence[bytes] | None,
    ) -> None:
        """Hand messages over, in order; waits while too many are under way."""

    def flush(self) -> None:
        """Wait until everything has arrived.

        Raises:
            RunError: something has not.
        """

    def close(self) -> None: ...


def open_sender(settings: KafkaSettings) -> Sender:
    """A sender with the client that the settings name.

    Raises:
        ConfigError: a setting that the client does not have, or the client is not installed.
        RunError: no broker answers.
    """
    if settings.client == CONFLUENT:
        return ConfluentSender(settings)
    return KafkaPythonSender(settings)


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
            "queue.buffering.max.messages": 2 * _MOST_WAITING,
            "queue.buffering.max.kbytes": 1 << 18,
            "message.timeout.ms": int(WAIT_S * 1000),
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

        asked = self._admin.create_topics([NewTopic(topic, partitions)], request_timeout=ANSWER_S)
        try:
            asked[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._trouble(error) from None

    def ends(self, topic: str) -> list[int]:
        from confluent_kafka import KafkaException

        deadline = time.monotonic() + ANSWER_S
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

        found = self._admin.list_topics(topic, timeout=ANSWER_S).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        last = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(topic, p): last for p in found.partitions}
        listed = self._admin.list_offsets(wanted, request_timeout=ANSWER_S)
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
        while len(self._producer) + len(values) > _MOST_WAITING and len(self._producer):
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
        left = self._producer.flush(WAIT_S)
        self._check()
        if left:
            raise self._trouble(f"{left:,} messages have not arrived after {WAIT_S:.0f} s")

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(1.0)

    def _failed(self, error: Any, _: Any) -> None:
        self._error = self._error or str(error)

    def _check(self) -> None:
        if self._error is not None:
            raise self._trouble(self._error)

    def _trouble(self, error: object) -> RunError:
        return _no_delivery(self._settings, error)


class KafkaPythonSender:
    """kafka-python: a Python call a message."""

    def __init__(self, settings: KafkaSettings) -> None:
        from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
        from kafka.errors import KafkaError

        self._settings = settings
        self._errors: list[BaseException] = []
        self._waiting = 0
        servers = {
            "bootstrap_servers": settings.bootstrap.split(","),
            "client_id": "stream-prune",
            "bootstrap_timeout_ms": int(ANSWER_S * 1000),
        }
        given = {name.replace(".", "_"): v for name, v in settings.for_producer().items()}
        fast = {
            "linger_ms": 5,
            "compression_type": "lz4",
            "batch_size": 1 << 18,
            "delivery_timeout_ms": int(WAIT_S * 1000),
            "request_timeout_ms": int(WAIT_S * 500),
        }
        fixed = {"enable_idempotence": True, "allow_auto_create_topics": False}
        shared = {n: v for n, v in given.items() if n.startswith(("security", "sasl", "ssl"))}
        try:
            self._producer = KafkaProducer(**{**fast, **given, **servers, **fixed})
            self._admin = KafkaAdminClient(**servers, **shared)
            self._consumer = KafkaConsumer(**servers, **shared, enable_auto_commit=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"source.kafka.producer: {settings.told(error)}") from None
        except KafkaError as error:
            raise self._trouble(error) from None

    def make_topic(self, topic: str, partitions: int) -> None:
        from kafka.admin import NewTopic
        from kafka.errors import KafkaError, TopicAlreadyExistsError

        try:
            self._admin.create_topics([NewTopic(topic, partitions, -1)])
            self._admin.wait_for_topics([topic])
        except TopicAlreadyExistsError:
            return
        except KafkaError as error:
            raise self._trouble(error) from None

    def ends(self, topic: str) -> list[int]:
        from kafka import TopicPartition
        from kafka.errors import KafkaError

        try:
            found = sorted(self._consumer.partitions_for_topic(topic) or ())
            places = [TopicPartition(topic, p) for p in found]
            offsets = self._consumer.end_offsets(places) if places else {}
        except KafkaError as error:
            raise self._trouble(error) from None
        return [offsets[place] for place in places]

    def send(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes],
        keys: Sequence[bytes] | None,
    ) -> None:
        from kafka.errors import KafkaError

        send, failed = self._producer.send, self._errors.append
        try:
            for i, value in enumerate(values):
                key = None if keys is None else keys[i]
                send(topic, value, key=key, partition=partition).add_errback(failed)
            self._waiting += len(values)
            if self._waiting > _MOST_WAITING:
                self.flush()
        except KafkaError as error:
            raise self._trouble(error) from None
        self._check()

    def flush(self) -> None:
        from kafka.errors import KafkaError

        self._waiting = 0
        try:
            self._producer.flush(timeout=WAIT_S)
        except KafkaError as error:
            raise self._trouble(error) from None
        self._check()

    def close(self) -> None:
        from kafka.errors import KafkaTimeoutError

        with contextlib.suppress(KafkaTimeoutError):  # what has not arrived, flush has told
            self._producer.close(timeout=1)
        self._admin.close()
        self._consumer.close()

    def _check(self) -> None:
        if self._errors:
            raise self._trouble(self._errors[0])

    def _trouble(self, error: object) -> RunError:
        return _no_delivery(self._settings, error)


def _no_delivery(settings: KafkaSettings, error: object) -> RunError:
    told = settings.told(error) or type(error).__name__
    return RunError(
        f"{settings.bootstrap}: messages cannot be delivered: {told}: see that a broker runs there"
    )
