"""A process that serves: socket, TLS, limits on connections, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from asyncio import TimerHandle, Transport
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.config import Limits, ServingConfig
from stream_prune.errors import ConfigError, RunError


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on; they are answered when :func:`serve` runs.

    Raises:
        RunError: the address can't be had, for one because another program listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1_024)
    except OSError as error:
        listener.close()
        raise RunError(
            f"host {host}, port {port}: cannot listen there: {error.strerror}: "
            "choose another port with --port, or another address with --host"
        ) from None
    return listener


def serve(app: FastAPI, listener: socket.socket, config: ServingConfig) -> None:
    """Serve ``app`` until interrupted; SIGTERM and SIGINT finish the requests under way first.

    Raises:
        ConfigError: a certificate or its key can't be used.
    """
    server = uvicorn.Server(http_config(app, config))
    # What is alive now stays so: the collector need not walk through it between two requests.
    gc.collect()
    gc.freeze()
    with listener:
        server.run(sockets=[listener])


def http_config(app: FastAPI, config: ServingConfig) -> uvicorn.Config:
    """How uvicorn is told what ``config`` says."""
    access = config.access
    made = uvicorn.Config(
        app,
        http=partial(LimitedProtocol, limits=config.limits),  # type: ignore[arg-type]
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(config.limits.idle_s) or 1,
        timeout_graceful_shutdown=int(config.limits.drain_s) or 1,
        ssl_certfile=access.certificate,
        ssl_keyfile=access.certificate_key,
        ssl_ca_certs=None if access.client_authorities is None else str(access.client_authorities),
        ssl_cert_reqs=ssl.CERT_NONE if access.client_authorities is None else ssl.CERT_REQUIRED,
    )
    try:
        made.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"access.certificate = {str(access.certificate)!r}: can't be used with its key or with "
            f"access.client_authorities: {error}"
        ) from None
    return made


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP with an end to headers that never end and to connections that never ask."""

    def __init__(self, *args: Any, limits: Limits, **more: Any) -> None:
        super().__init__(*args, **more)
        self._limits = limits
        self._header_bytes = 0
        self._asked: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.close()
            return
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._header_bytes += len(data)
        super().data_received(data)
        if self._asked is not None and self._header_bytes > self._limits.header_bytes:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._asked is None:
            self._wait_for_request()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_request(self) -> None:
        self._header_bytes = 0
        loop = asyncio.get_running_loop()
        self._asked = loop.call_later(self._limits.idle_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None
