"""ASGI middleware that counts and times every request."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics


class Counted:
    """Tells the metrics route, status and seconds of a request.

    Args:
        metrics: they are told.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Finding a label by its name costs more than counting.
        self._known: MutableMapping[tuple[str, int], tuple[Any, Any]] = {}

    def __call__(self, route: str, status: int, seconds: float) -> None:
        found = self._known.get((route, status))
        if found is None:
            metrics = self._metrics
            found = metrics.requests.labels(route, status), metrics.seconds.labels(route)
            self._known[route, status] = found
        found[0].inc()
        found[1].observe(seconds)


class Measured:
    """Counts and times each request.

    Args:
        app: what it stands around.
        counted: is told.
    """

    def __init__(self, app: ASGIApp, counted: Counted) -> None:
        self._app, self._counted = app, counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._counted(_route(scope["path"]), status, time.perf_counter() - begun)


def _route(path: str) -> str:
    """A few names, whatever clients ask for."""
    if path.endswith("/infer"):
        return "infer"
    if path == "/invocations":
        return "invocations"
    if path.startswith("/v2/health/") or path in ("/ping", "/health"):
        return "health"
    if path.startswith("/v2/repository/"):
        return "repository"
    return "metrics" if path == "/metrics" else "other"
