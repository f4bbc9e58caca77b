"""Kafka clients for a log: settings from the configuration, secrets from the environment.

Each security setting of kafka-python may come from an environment variable of its name in capitals
after ``KAFKA_``: ``KAFKA_SECURITY_PROTOCOL``, ``KAFKA_SASL_MECHANISM``, ``KAFKA_SSL_CAFILE``, ...;
passwords come from nowhere else, so that no configuration, run folder or message ever holds one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.place import KafkaPlace

T = TypeVar("T")

SECRETS = ("sasl_plain_password", "ssl_password")
SECURITY = (
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    *SECRETS,
)
GREATEST_MESSAGE = 16 << 20
"""Bytes of the largest batch that a topic of ours takes."""

REQUEST_MS = 20_000
_DEFAULTS = {"request_timeout_ms": REQUEST_MS, "retry_backoff_ms": 20}
_PAUSE_S = 0.2


def connection(
    servers: str, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """What every client of a cluster is told; the environment's security settings win.

    Raises:
        ConfigError: ``settings`` holds a secret.
    """
    for name in SECRETS:
        if name in settings:
            raise ConfigError(
                f"settings.{name}: a secret has no place in a configuration: "
                f"set the environment variable {variable(name)}"
            )
    given = {
        name: environment[variable(name)] for name in SECURITY if variable(name) in environment
    }
    return {**settings, **given, "bootstrap_servers": servers.split(",")}


def variable(setting: str) -> str:
    """The environment variable of a security setting.

    >>> variable("ssl_cafile")
    'KAFKA_SSL_CAFILE'
    """
    return f"KAFKA_{setting.upper()}"


def consumer(place: KafkaPlace, **settings: Any) -> KafkaConsumer:
    """A consumer of committed messages, which commits no offsets by itself.

    Raises:
        ConfigError: a setting that no client has.
        RunError: no broker answers.
    """
    fixed = {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "check_crcs": False,  # batches carry a SHA-256, records are parsed: both tell damage
    }
    return _client(KafkaConsumer, place, _DEFAULTS, fixed | settings)


def producer(place: KafkaPlace, transactional_id: str | None = None) -> KafkaProducer:
    """A producer; with an id, a transactional one.

    Raises:
        ConfigError: a setting that no client has.
        RunError: no broker answers.
    """
    defaults = {
        **_DEFAULTS,
        "max_block_ms": REQUEST_MS,
        "delivery_timeout_ms": REQUEST_MS,
        "request_timeout_ms": REQUEST_MS // 2,
    }
    fixed = {
        "transactional_id": transactional_id,
        "acks": "all",
        "enable_idempotence": True,
        "max_request_size": GREATEST_MESSAGE + (1 << 16),
        "allow_auto_create_topics": False,
    }
    return _client(KafkaProducer, place, defaults, fixed)


@contextmanager
def admin(place: KafkaPlace) -> Iterator[KafkaAdminClient]:
    """An admin client, closed at the end of the block.

    Raises:
        ConfigError: a setting that no client has.
        RunError: no broker answers.
    """
    client = _client(KafkaAdminClient, place, _DEFAULTS, {})
    try:
        yield client
    finally:
        client.close()


def _client(
    kind: Any, place: KafkaPlace, defaults: Mapping[str, Any], fixed: Mapping[str, Any]
) -> Any:
    known = [client.DEFAULT_CONFIG for client in (KafkaConsumer, KafkaProducer, KafkaAdminClient)]
    for name in place.settings:
        if not any(name in config for config in known):
            raise ConfigError(f"log.settings.{name}: no setting of kafka-python's clients")
        if name in fixed:
            raise ConfigError(f"log.settings.{name}: is set by the log itself: leave it out")
    wanted = {**defaults, **connection(place.servers, place.settings), **fixed}
    try:
        return kind(**{name: wanted[name] for name in wanted if name in kind.DEFAULT_CONFIG})
    except (KafkaError, OSError, ValueError) as error:
        raise RunError(
            f"{place}: no broker lets this client in: {reason(error)}: see that one runs at "
            f"{place.servers}, and that security settings are right"
        ) from error


def reason(error: BaseException) -> str:
    """An error of a client in words."""
    return str(error) or type(error).__name__


def patiently(place: KafkaPlace, call: Callable[[], T]) -> T:
    """Call again and again while brokers are away, up to the place's patience.

    Raises:
        RunError: they stay away, or refuse.
    """
    deadline = time.monotonic() + place.patience_s
    while True:
        try:
            return call()
        except KafkaError as error:
            if not error.retriable:
                raise RunError(f"{place}: {reason(error)}") from error
            if time.monotonic() > deadline:
                raise no_answer(place, error) from error
            time.sleep(_PAUSE_S)


def no_answer(place: KafkaPlace, error: BaseException | None = None) -> RunError:
    """What to raise when the patience is over."""
    told = "" if error is None else f": {reason(error)}"
    return RunError(
        f"{place}: no answer for {place.patience_s:g} s{told}: see that the brokers run and the "
        "topics are there, and start again: nothing is lost"
    )
