"""The way of most requests: small ones for scores, answered where they arrive.

A web framework's tasks, queues and layers take as long for a small request as reading and scoring
it together. What asks for scores at the usual addresses, and has come whole, is therefore answered
by the connection, through the same gate, keys, protocol and errors as by the application's routes.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from starlette.responses import Response

from serving import errors, invocations, openapi, protocol
from serving.access import Keys, key_of
from serving.errors import RequestError
from serving.measured import Counted
from serving.model_slot import Served
from serving.scoring import SMALL_BYTES, Read
from serving.service import Service
from stream_prune.artifact import ScoreError

_log = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]
_ASKED = (b"content-type", b"authorization", b"inference-header-content-length")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Way(NamedTuple):
    """What is asked at an address: its path, its protocol, and its name in the figures."""

    path: str
    read: Read
    name: str


class Direct:
    """Answers requests for scores of the live model.

    Args:
        service: scores.
        keys: who may ask.
        counted: told of every answer.
    """

    def __init__(self, service: Service, keys: Keys, counted: Counted) -> None:
        self._service, self._keys, self._counted = service, keys, counted
        self.most_bytes = min(SMALL_BYTES, service.config.limits.body_bytes)
        infer = openapi.INFER.replace("{name}", service.slot.name)
        self._ways = {
            quote(way.path).encode(): way
            for way in (
                Way(infer, protocol.question, "infer"),
                Way(openapi.INVOCATIONS, invocations.question, "invocations"),
            )
        }
        self._head: tuple[Served | None, bytes] = (None, b"")

    def way(self, url: bytes) -> Way | None:
        """What is asked at an address; None: it is the application's."""
        return self._ways.get(url)

    def answer(self, way: Way, headers: Headers, body: bytes, defaults: Headers) -> bytes:
        """A whole HTTP answer.

        Args:
            way: of the request.
            headers: of the request, names in lower case.
            body: of the request, :attr:`most_bytes` at most.
            defaults: headers that every answer of this server has.
        """
        begun = time.perf_counter()
        try:
            status, answer = 200, self._scored(way, headers, body, defaults)
        except Exception as error:  # noqa: BLE001 - one that fails must not close the connection
            refused = _refused(way, error)
            status, answer = refused.status_code, _written(refused, defaults)
        self._counted(way.name, status, time.perf_counter() - begun)
        return answer

    def _scored(self, way: Way, headers: Headers, body: bytes, defaults: Headers) -> bytes:
        asked: dict[str, str] = {}
        for name, value in headers:
            if name in _ASKED:
                asked.setdefault(name.decode(), value.decode("latin-1"))
        refusal = self._keys.refusal(way.path, key_of(asked.get("authorization")))
        if refusal is not None:
            raise refusal
        service = self._service
        with service.gate.entered():
            served = service.served(service.slot.name)
            reply = service.scoring.answer_now(served, way.read, body, asked)
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        length = f"content-type: {reply.media_type}\r\ncontent-length: {len(reply.body)}\r\n"
        lines = (self._head_of(served), *_lines(defaults), (length + more).encode(), b"\r\n")
        return b"".join((*lines, reply.body))

    def _head_of(self, served: Served) -> bytes:
        """The first lines of an answer by a version, made once."""
        known, head = self._head
        if known is not served:
            names = (("x-model-name", self._service.slot.name), ("x-model-version", served.version))
            told = "".join(f"{name}: {_CONTROL.sub('?', value)}\r\n" for name, value in names)
            head = _status_line(200) + told.encode("latin-1", errors="replace")
            self._head = served, head
        return head


def _refused(way: Way, error: Exception) -> Response:
    if isinstance(error, RequestError | ScoreError):
        return errors.response(error)
    _log.error("POST %s failed", way.path, exc_info=error)
    return errors.failed()


def _written(answer: Response, defaults: Headers) -> bytes:
    lines = (_status_line(answer.status_code), *_lines(defaults), *_lines(answer.raw_headers))
    return b"".join((*lines, b"\r\n", bytes(answer.body)))


def _lines(headers: Headers) -> list[bytes]:
    return [b"%b: %b\r\n" % header for header in headers]


@cache
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
