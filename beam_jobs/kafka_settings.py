"""Which topics are read, with which client, and what the client is told beyond that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_prune.errors import ConfigError
from stream_prune.secret_values import (
    flat_settings,
    refuse_written_secrets,
    with_secrets,
    without_secrets,
)

KAFKA_PYTHON, CONFLUENT = "kafka-python", "confluent"
CLIENTS = (KAFKA_PYTHON, CONFLUENT)
PLACE = "source.kafka"

_OWN = {
    "bootstrap.servers": "source.kafka.bootstrap",
    "group.id": "source.kafka.group",
    "auto.offset.reset": "source.kafka.start",
    "enable.auto.commit": None,
    "enable.auto.offset.store": None,
    "enable.partition.eof": None,
    "key.deserializer": None,
    "value.deserializer": None,
}
"""Settings that this job decides, and the key of the configuration that does instead."""


@dataclass(frozen=True)
class KafkaSettings:
    """Topics and how to reach them.

    Attributes:
        bootstrap: ``host:port``, several separated by commas.
        topics: to be read, all of their partitions.
        client: ``kafka-python``, or ``confluent`` (librdkafka: faster, the extra of that name).
        consumer: settings of that client's consumer under the client's own names, passed through
            untouched but for ``${env:NAME}``.
        producer: likewise for the producer of dead letters; what ``consumer`` says about TLS and
            SASL holds for it too.
        group: offsets are committed under this name, for monitoring only; None: they are not.
        start: ``earliest`` or ``latest``: where a new log begins to read.
    """

    bootstrap: str
    topics: tuple[str, ...]
    client: str = KAFKA_PYTHON
    consumer: Mapping[str, Any] = field(default_factory=dict)
    producer: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    start: str = "earliest"

    def __post_init__(self) -> None:
        if not self.bootstrap.strip():
            raise ConfigError(f"{PLACE}.bootstrap = '': must be host:port")
        if not self.topics or len(set(self.topics)) < len(self.topics):
            raise ConfigError(
                f"{PLACE}.topics = {list(self.topics)}: must name topics, each only once"
            )
        for name, value, allowed in (
            ("client", self.client, CLIENTS),
            ("start", self.start, ("earliest", "latest")),
        ):
            if value not in allowed:
                raise ConfigError(
                    f"{PLACE}.{name} = {value!r}: must be one of {', '.join(allowed)}"
                )
        for kind in ("consumer", "producer"):
            settings = flat_settings(getattr(self, kind))
            refuse_written_secrets(settings, f"{PLACE}.{kind}")
            for name in settings:
                if name.replace("_", ".") in _OWN:
                    instead = _OWN[name.replace("_", ".")]
                    way_out = f": say {instead}" if instead else ": leave it out"
                    raise ConfigError(f"{PLACE}.{kind}.{name}: is decided by the job{way_out}")

    def for_consumer(self) -> dict[str, Any]:
        """The consumer's settings, secrets filled in.

        Raises:
            ConfigError: an environment variable is not set.
        """
        return with_secrets(self.consumer, f"{PLACE}.consumer")

    def for_producer(self) -> dict[str, Any]:
        """The producer's settings, secrets filled in; how to connect is the consumer's.

        Raises:
            ConfigError: an environment variable is not set.
        """
        shared = {
            name: value
            for name, value in self.for_consumer().items()
            if name.startswith(("security", "sasl", "ssl"))
        }
        return shared | with_secrets(self.producer, f"{PLACE}.producer")

    def told(self, error: object) -> str:
        """An error's text without any secret."""
        return without_secrets(without_secrets(str(error), self.consumer), self.producer)
