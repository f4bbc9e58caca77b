"""A process that serves: socket, TLS, and a clean end."""

from __future__ import annotations

import gc
import socket
import ssl
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from serving.config import ServingConfig
from serving.connections import DirectProtocol, LimitedProtocol
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
    access, direct = config.access, app.state.direct
    given: dict[str, Any] = {"limits": config.limits}
    if direct is not None:
        given["direct"] = direct
    protocol = LimitedProtocol if direct is None else DirectProtocol
    made = uvicorn.Config(
        app,
        http=partial(protocol, **given),  # type: ignore[arg-type]
        ws="none",
        proxy_headers=False,
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
