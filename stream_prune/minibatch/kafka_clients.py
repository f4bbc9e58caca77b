"""Kafka clients for a log: one place says what each of them is told and what its errors mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.place import KafkaPlace
from stream_prune.secret_values import refuse_written_secrets, with_secrets, without_secrets

T = TypeVar("T")

GREATEST_MESSAGE = 16 << 20
"""Bytes of the largest batch that a topic of ours takes."""

SETTINGS = "log.settings"
REQUEST_MS = 20_000
_DEFAULTS = {
    "request_timeout_ms": REQUEST_MS,
    "retry_backoff_ms": 20,
    "reconnect_backoff_max_ms": 1000,
}
_PAUSE_S = 0.2


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
    refuse_written_secrets(place.settings, SETTINGS)
    given = with_secrets(place.settings, SETTINGS)
    for name in given:
        if not any(name in config for config in known):
            raise ConfigError(f"{SETTINGS}.{name}: no setting of kafka-python's clients")
        if name in fixed or name == "bootstrap_servers":
            raise ConfigError(f"{SETTINGS}.{name}: is set by the log itself: leave it out")
    first = {"bootstrap_timeout_ms": int(1000 * min(30, place.patience_s))}
    servers = {"bootstrap_servers": place.servers.split(",")}
    wanted = {**first, **defaults, **given, **fixed, **servers}
    try:
        return kind(**{name: wanted[name] for name in wanted if name in kind.DEFAULT_CONFIG})
    except (KafkaError, OSError, ValueError) as error:
        told = without_secrets(reason(error), place.settings)
        raise RunError(
            f"{place}: no broker lets this client in: {told}: see that one runs at "
            f"{place.servers}, and that the security settings are right"
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
