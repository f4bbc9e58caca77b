"""The way of most requests: scores of the live model, around the framework's routes.

A web framework's layers take as long for a small request as reading and scoring it together. What
asks for scores at the usual addresses is therefore answered here, by the same gate, keys, protocol
and errors; everything else, and every other address of the same, goes on to the application.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from serving import errors
from serving.access import Keys, key_of
from serving.errors import RequestError
from serving.gate import received
from serving.measured import Counted
from serving.scoring import Read
from serving.service import Service
from stream_prune.artifact import ScoreError

_ASKED = (b"content-type", b"content-length", b"authorization", b"inference-header-content-length")


class HotPath:
    """ASGI middleware that answers requests for scores.

    Args:
        app: gets everything else.
        service: scores.
        keys: who may ask.
        counted: told of every answer.
        reads: the protocol of each path, by the path and the name that its figures have.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        keys: Keys,
        counted: Counted,
        reads: Mapping[str, tuple[Read, str]],
    ) -> None:
        self._app, self._service, self._keys = app, service, keys
        self._counted, self._reads = counted, reads
        name = service.slot.name.encode("latin-1", errors="replace")
        self._named = (b"x-model-name", name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._reads.get(scope["path"]) if scope["type"] == "http" else None
        if found is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500
        try:
            status = await self._answer(scope, receive, send, found[0])
        finally:
            self._counted(found[1], status, time.perf_counter() - begun)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, read: Read) -> int:
        headers: dict[str, str] = {}
        for key, value in scope["headers"]:
            if key in _ASKED:
                headers.setdefault(key.decode(), value.decode("latin-1"))
        service = self._service
        try:
            refusal = self._keys.refusal(scope["path"], key_of(headers.get("authorization")))
            if refusal is not None:
                raise refusal
            with service.gate.entered():
                served = service.served(service.slot.name)
                body = await service.gate.body(headers.get("content-length"), received(receive))
                reply = await service.scoring.answer(served, read, body, headers)
        except (RequestError, ScoreError) as error:
            response = errors.response(error)
            await response(scope, receive, send)
            return response.status_code
        told = [
            (b"content-type", reply.media_type.encode()),
            (b"content-length", b"%d" % len(reply.body)),
            self._named,
            (b"x-model-version", served.version.encode("latin-1", errors="replace")),
        ]
        told += [(key.encode(), value.encode()) for key, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": told})
        await send({"type": "http.response.body", "body": reply.body})
        return 200
