"""Where a mini-batch log is kept: a folder, or a topic of a Kafka cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

from stream_prune.errors import ConfigError

SCHEME = "kafka://"
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,230}")
_SERVER = re.compile(r"([^,:/\s]+|\[[0-9a-fA-F:]+\]):\d{1,5}")


@dataclass(frozen=True)
class KafkaPlace:
    """A log in Kafka.

    Attributes:
        servers: ``host:port``, several separated by commas.
        topic: of the batches; topics named after it hold the commits, the header and dead letters.
        settings: of kafka-python's clients, under their own names; ``${env:NAME}`` stands where a
            secret belongs.
        patience_s: seconds that the brokers may be away before who writes or reads gives up.

    >>> str(KafkaPlace("broker:9092", "clicks.batches"))
    'kafka://broker:9092/clicks.batches'
    """

    servers: str
    topic: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        if not all(_SERVER.fullmatch(server) for server in self.servers.split(",")):
            raise ConfigError(
                f"log.servers = {self.servers!r}: must be host:port, or several with commas between"
            )
        if not _TOPIC.fullmatch(self.topic) or self.topic in (".", ".."):
            raise ConfigError(
                f"log.topic = {self.topic!r}: must be 1 to 230 letters, digits, dots, underscores "
                "or hyphens"
            )
        if self.patience_s <= 0:
            raise ConfigError(f"log.patience_s = {self.patience_s}: must be greater than 0")

    def __str__(self) -> str:
        return f"{SCHEME}{self.servers}/{self.topic}"


LogPlace: TypeAlias = Path | KafkaPlace


def log_place(value: object) -> LogPlace:
    """The place that a configuration means: a path, ``kafka://host:port/topic``, or a mapping.

    Raises:
        ConfigError: it means none.

    >>> log_place("runs/log")
    PosixPath('runs/log')
    >>> log_place("kafka://a:9092,b:9092/batches").servers
    'a:9092,b:9092'
    >>> log_place({"servers": "a:9092", "topic": "batches"}) == log_place("kafka://a:9092/batches")
    True
    """
    if isinstance(value, Path | KafkaPlace):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if not isinstance(value, str) or not value:
        raise ConfigError(
            f"log = {value!r}: must be a folder, kafka://host:port/topic, or a mapping with "
            "servers and topic"
        )
    if not value.startswith(SCHEME):
        return Path(value)
    servers, slash, topic = value.removeprefix(SCHEME).partition("/")
    if not slash:
        raise ConfigError(f"log = {value!r}: names no topic: must be kafka://host:port/topic")
    return KafkaPlace(servers, topic)


def _from_mapping(values: Mapping[str, Any]) -> KafkaPlace:
    known = {f.name: f for f in fields(KafkaPlace)}
    for key in values:
        if key not in known:
            raise ConfigError(f"log.{key}: unknown key; known are {', '.join(known)}")
    for key in ("servers", "topic"):
        if not isinstance(values.get(key), str):
            raise ConfigError(f"log.{key} = {values.get(key)!r}: must be text")
    if not isinstance(values.get("settings", {}), Mapping):
        raise ConfigError(f"log.settings = {values['settings']!r}: must be a mapping")
    patience = values.get("patience_s", 1.0)
    if isinstance(patience, bool) or not isinstance(patience, int | float):
        raise ConfigError(f"log.patience_s = {patience!r}: must be a number of seconds")
    return KafkaPlace(**values)
