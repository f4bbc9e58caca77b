"""kafka-python as a sender."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.produce import waits
from beam_jobs.produce.sender import no_delivery
from stream_prune.errors import ConfigError, RunError


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
            "bootstrap_timeout_ms": int(waits.ANSWER_S * 1000),
        }
        given = {name.replace(".", "_"): v for name, v in settings.for_producer().items()}
        fast = {
            "linger_ms": 5,
            "compression_type": "lz4",
            "batch_size": 1 << 18,
            "delivery_timeout_ms": int(waits.WAIT_S * 1000),
            "request_timeout_ms": int(waits.WAIT_S * 500),
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
            if self._waiting > waits.MOST_MESSAGES:
                self.flush()
        except KafkaError as error:
            raise self._trouble(error) from None
        self._check()

    def flush(self) -> None:
        from kafka.errors import KafkaError

        self._waiting = 0
        try:
            self._producer.flush(timeout=waits.WAIT_S)
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
        return no_delivery(self._settings, error)
