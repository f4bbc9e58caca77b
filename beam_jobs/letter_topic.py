"""Dead letters as records of a topic: what was read, as it was, and why it could not be used.

A letter's record has the key, value and headers of the original; headers of its own say the reason
and the position that it was read at. Letters are written before the commit that counts them. A job
that was killed between the two finds those that it had written, by the window that they went with,
and writes no letter twice; a writer that has been superseded (paused for minutes, say) can still
leave copies: they name the same position.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConfigurationError,
    KafkaError,
    TopicAlreadyExistsError,
)

from beam_jobs.dead_letters import Letter, job_version
from beam_jobs.kafka_records import Original
from beam_jobs.kafka_settings import PLACE, KafkaSettings
from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.log import MiniBatchLog

IDENTITY = "identity"
"""The name under which a log keeps what tells its letters from those of other logs."""

PREFIX = "stream_prune."
"""What the names of a letter's own headers begin with."""

PATIENCE_SECONDS = 120.0
"""How long brokers may be away while letters are written."""
_STEP = 1_000

Position = tuple[int, int]


class LetterTopic:
    """Writes letters to a topic of one partition; made if it is not there.

    Args:
        settings: of the cluster.
        topic: its name.
        log: the mini-batch log whose commits count the letters.
        after: end (ms) of the last committed window: letters of later ones were left by a job that
            was killed.

    Raises:
        ConfigError: a setting that the client does not have.
        RunError: the topic can't be made or read.
    """

    def __init__(self, settings: KafkaSettings, topic: str, log: MiniBatchLog, after: int) -> None:
        self.topic = topic
        self._log = json.loads(log.agree(IDENTITY, json.dumps(uuid.uuid4().hex) + "\n"))
        self._settings = settings
        self._client = {
            "bootstrap_servers": settings.bootstrap.split(","),
            "client_id": "stream-prune",
            **_for_kafka_python(settings),
        }
        try:
            self._make()
            self._left = self._find(after)
            self._producer = KafkaProducer(
                **{
                    "acks": "all",
                    "enable_idempotence": True,
                    "delivery_timeout_ms": int(PATIENCE_SECONDS * 1000),
                    "reconnect_backoff_max_ms": 2_000,
                    "linger_ms": 5,
                    **self._client,
                }
            )
        except (KafkaConfigurationError, AssertionError) as error:
            raise ConfigError(f"{PLACE}.producer: {settings.told(error)}") from None
        except (KafkaError, IncompatibleBrokerVersion) as error:
            raise self._error(error) from None

    def send(self, window_end: int, letters: Iterable[Letter]) -> None:
        """Write letters that go with the commit of a window, and wait until they are durable.

        Raises:
            RunError: they can't be written.
        """
        new = [x for x in letters if (x.partition, x.offset) not in self._left]
        if not new:
            return
        try:
            sent = [self._send(window_end, letter) for letter in new]
            self._producer.flush(timeout=PATIENCE_SECONDS)
            for done in sent:
                done.get(timeout=PATIENCE_SECONDS)
        except KafkaError as error:
            raise self._error(error) from None

    def _send(self, window_end: int, letter: Letter) -> Any:
        assert isinstance(letter.record, Original)
        own = {
            "reason": letter.reason,
            "kind": letter.kind,
            "topic": letter.record.topic,
            "partition": letter.record.partition,
            "offset": letter.record.offset,
            "timestamp": letter.record.timestamp,
            "number": letter.partition,
            "window_end": window_end,
            "log": self._log,
            "job_version": job_version(),
        }
        headers = [(f"{PREFIX}{name}", str(value).encode()) for name, value in own.items()]
        return self._producer.send(
            self.topic,
            key=letter.record.key,
            value=letter.record.value,
            headers=[*letter.record.headers, *headers],
            partition=0,
        )

    @property
    def place(self) -> str:
        """Where the letters are, for messages."""
        return f"topic {self.topic!r}"

    def close(self) -> None:
        """Let go of the cluster."""
        self._producer.close(timeout=5)

    def _make(self) -> None:
        admin = KafkaAdminClient(**self._client)
        try:
            if self.topic in admin.list_topics():  # who may write to it may not be one to make it
                return
            admin.create_topics([NewTopic(self.topic, num_partitions=1, replication_factor=-1)])
        except TopicAlreadyExistsError:
            return
        finally:
            admin.close()

    def _find(self, after: int) -> set[Position]:
        """Positions of the letters that went with windows after ``after``: the last in the topic.

        Letters are written in the order of their windows, so the search goes back from the end.
        """
        place = TopicPartition(self.topic, 0)
        consumer = KafkaConsumer(
            **{**self._client, "enable_auto_commit": False, "auto_offset_reset": "earliest"}
        )
        found: set[Position] = set()
        try:
            consumer.assign([place])
            end = consumer.end_offsets([place])[place]
            begin = consumer.beginning_offsets([place])[place]
            while end > begin:
                start = max(begin, end - _STEP)
                records = _read(consumer, place, start, end)
                own = [letter for letter in map(self._letter, records) if letter is not None]
                found.update(position for window_end, position in own if window_end > after)
                if any(window_end <= after for window_end, _ in own):
                    break
                end = start
        finally:
            consumer.close()
        return found

    def _letter(self, record: Any) -> tuple[int, Position] | None:
        """Window end and position of a letter; None: it is none of this log's."""
        own = {name: value for name, value in record.headers if name.startswith(PREFIX)}
        try:
            if own[f"{PREFIX}log"].decode() != self._log:
                return None
            numbers = [int(own[f"{PREFIX}{name}"]) for name in ("window_end", "number", "offset")]
        except (KeyError, AttributeError, TypeError, ValueError):
            return None
        return numbers[0], (numbers[1], numbers[2])

    def _error(self, error: Exception) -> RunError:
        told = self._settings.told(error) or type(error).__name__
        return RunError(
            f"dead letters: topic {self.topic!r} at {self._settings.bootstrap}: {told}: make the "
            "topic (one partition) or allow this user to, see that the brokers run, or keep dead "
            "letters in the log's folder (stream.dead_letters: folder); nothing is lost"
        )


def _for_kafka_python(settings: KafkaSettings) -> dict[str, Any]:
    """Settings for connecting, under kafka-python's names where librdkafka has others."""
    names = {
        "sasl.username": "sasl_plain_username",
        "sasl.password": "sasl_plain_password",
        "sasl.mechanisms": "sasl_mechanism",
        "ssl.ca.location": "ssl_cafile",
        "ssl.certificate.location": "ssl_certfile",
        "ssl.key.location": "ssl_keyfile",
        "ssl.key.password": "ssl_password",
    }
    given = settings.for_producer()
    return {names.get(name, name.replace(".", "_")): value for name, value in given.items()}


def _read(consumer: KafkaConsumer, place: TopicPartition, start: int, end: int) -> Sequence[Any]:
    """The records [start, end) of a partition."""
    consumer.seek(place, start)
    records: list[Any] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while consumer.position(place) < end and time.monotonic() < deadline:
        for part in consumer.poll(timeout_ms=1_000, max_records=_STEP).values():
            records += [record for record in part if record.offset < end]
    return records
