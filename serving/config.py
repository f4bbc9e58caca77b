"""Settings of the server: what it takes, from whom, and how it follows a model."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stream_prune.errors import ConfigError

_SHORTEST_KEY = 16


def _positive(name: str, value: Any) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} = {value}: must be more than 0")


@dataclass(frozen=True)
class Limits:
    """How much one client, or all of them together, may ask for.

    Args:
        body_bytes: of a request's body; more is answered with 413.
        rows: of one request; more is answered with 413.
        in_flight: scoring requests at a time; one more is answered with 429.
        retry_after_s: what a 429 says about when to come again.
        request_s: for reading a request and answering it; later is answered with 408 (its body is
            still to come) or 504 (its score is).
        header_bytes: of a request's line and headers; a connection with more is closed.
        idle_s: how long a connection may stay without a whole request line and headers.
        connections: open ones at a time; one more is closed at once.
        drain_s: how long requests under way may take once the server is told to stop.
    """

    body_bytes: int = 8 * 2**20
    rows: int = 8_192
    in_flight: int = 64
    retry_after_s: int = 1
    request_s: float = 10.0
    header_bytes: int = 32 * 2**10
    idle_s: float = 60.0
    connections: int = 1_024
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            _positive(f"limits.{field.name}", getattr(self, field.name))


@dataclass(frozen=True)
class Access:
    """Who may ask. Keys are never written into a file: settings name an environment variable.

    Args:
        key_env: the variable with the keys that may score, separated by commas; None: anybody may.
        admin_key_env: the variable with the keys that may load and roll back (and score); None: on
            the address of this machine alone anybody may, elsewhere nobody.
        certificate: PEM file with the server's certificate (and those that sign it): HTTPS.
        certificate_key: PEM file with its private key.
        client_authorities: PEM file with the authorities whose certificates clients must show
            (mutual TLS).
    """

    key_env: str | None = None
    admin_key_env: str | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    client_authorities: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ConfigError("access.certificate and access.certificate_key: give both or neither")
        if self.client_authorities is not None and self.certificate is None:
            raise ConfigError(
                "access.client_authorities: clients show certificates over HTTPS only: give "
                "access.certificate and access.certificate_key too"
            )
        for name in ("certificate", "certificate_key", "client_authorities"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ConfigError(f"access.{name} = {str(path)!r}: there is no such file")

    def keys(self, name: str) -> tuple[str, ...] | None:
        """The keys of ``key_env`` or ``admin_key_env``; None where no variable is named.

        Raises:
            ConfigError: the variable is not set, or holds a key that is easily guessed.
        """
        variable = getattr(self, name)
        if variable is None:
            return None
        found = tuple(key.strip() for key in os.environ.get(variable, "").split(",") if key.strip())
        if not found:
            raise ConfigError(f"access.{name} = {variable!r}: this environment variable is not set")
        if any(len(key) < _SHORTEST_KEY or not key.isascii() for key in found):
            raise ConfigError(
                f"access.{name} = {variable!r}: a key must have {_SHORTEST_KEY} ASCII characters "
                "or more"
            )
        return found


@dataclass(frozen=True)
class Batching:
    """Scoring several small requests together. It pays for wide heads, and costs each of them time.

    Args:
        wait_ms: how long a request may wait for others; 0: none waits.
        rows: so many are scored at once without waiting for more.
    """

    wait_ms: float = 0.0
    rows: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.wait_ms <= 1_000:
            raise ConfigError(f"batching.wait_ms = {self.wait_ms}: must be in [0, 1000]")
        _positive("batching.rows", self.rows)


@dataclass(frozen=True)
class Following:
    """How the served model follows its alias (or its folder, if that is a link which moves).

    Args:
        every_s: seconds between two looks; 0: only when told by POST.
        retry_s: seconds before a version that could not be served is tried once more.
        timeout_s: for a look, and for fetching a version.
    """

    every_s: float = 5.0
    retry_s: float = 60.0
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if not 0 <= self.every_s < float("inf"):
            raise ConfigError(f"following.every_s = {self.every_s}: must be 0 or more")
        _positive("following.retry_s", self.retry_s)
        _positive("following.timeout_s", self.timeout_s)


@dataclass(frozen=True)
class ServingConfig:
    """Everything about a server but its model.

    Args:
        host: address to listen on.
        port: of HTTP; 0: any free one.
        grpc_port: of gRPC, at the same address; 0: any free one; None: HTTP alone.
        threads: of ONNX Runtime for one request.
        workers: large requests that are scored at a time, beside the small ones.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    threads: int = 1
    workers: int = 2
    limits: Limits = Limits()
    access: Access = Access()
    batching: Batching = Batching()
    following: Following = Following()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port = {self.port}: must be in [0, 65535]")
        if self.grpc_port is not None and not 0 <= self.grpc_port <= 65_535:
            raise ConfigError(f"grpc_port = {self.grpc_port}: must be in [0, 65535]")
        _positive("threads", self.threads)
        _positive("workers", self.workers)

    @property
    def local(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        return self.host in ("127.0.0.1", "::1", "localhost")
