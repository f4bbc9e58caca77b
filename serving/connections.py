"""A client's connection: its limits, and the short way of small requests for scores."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.config import Limits
from serving.direct import Direct, Way


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


class DirectProtocol(LimitedProtocol):
    """Answers a small request for scores that came whole; all else goes to the application.

    Requests of one connection are answered in their order: none directly while the application
    still works on an earlier one.
    """

    def __init__(self, *args: Any, direct: Direct, **more: Any) -> None:
        super().__init__(*args, **more)
        self._direct = direct
        self._way: Way | None = None
        self._body = b""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._way is not None:  # the rest is still to come: it is waited for elsewhere
            self._hand_over()

    def on_headers_complete(self) -> None:
        way = self._direct.way(self.url)
        if way is None or not self._may_answer():
            super().on_headers_complete()
            return
        self._stop_waiting()
        self._way, self._body = way, b""

    def on_body(self, body: bytes) -> None:
        if self._way is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        way = self._way
        if way is not None and len(self._body) <= self._direct.most_bytes:
            self._way = None
            defaults = self.server_state.default_headers
            self.transport.write(self._direct.answer(way, self.headers, self._body, defaults))
            self.on_response_complete()
            return
        if way is not None:
            self._hand_over()
        super().on_message_complete()

    def _may_answer(self) -> bool:
        parser = self.parser
        return (
            (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
        )

    def _hand_over(self) -> None:
        self._way = None
        if self.transport.is_closing():
            return
        super().on_headers_complete()
        if self._body:
            super().on_body(self._body)
