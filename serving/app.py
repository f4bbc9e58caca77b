"""The HTTP server: the Open Inference Protocol v2 over a model slot."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from serving import protocol
from serving.model_slot import ModelSlot, Served
from serving.protocol import ErrorResponse, InferRequest, InferResponse, RequestError
from stream_prune.artifact import ScoreError
from stream_prune.errors import RunError

_log = logging.getLogger(__name__)

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The request can't be scored."},
    415: {"model": ErrorResponse, "description": "The request is not JSON."},
    404: {"model": ErrorResponse, "description": "There is no model of that name."},
    503: {"model": ErrorResponse, "description": "No model is loaded yet."},
}


def create_app(slot: ModelSlot) -> FastAPI:
    """The application that answers for the model in ``slot``.

    Its OpenAPI page is at ``/docs``. Every error is a v2 error object; a client never sees a trace.
    """
    app = FastAPI(
        title="stream_prune",
        summary="Scores of a model that stays small while it learns (Open Inference Protocol v2).",
        version="2",
    )
    _map_errors(app)

    @app.get("/v2", tags=["server"])
    def server() -> dict[str, Any]:
        """Name and version of the server."""
        return {"name": "stream_prune", "version": "2", "extensions": []}

    @app.get("/v2/health/live", tags=["health"])
    def live() -> dict[str, bool]:
        """Whether the server answers."""
        return {"live": True}

    @app.get("/v2/health/ready", tags=["health"], responses={503: _ERRORS[503]})
    def ready() -> dict[str, bool]:
        """Whether a model is loaded."""
        _served(slot, slot.name)
        return {"ready": True}

    @app.get("/v2/models/{name}", tags=["model"], responses={k: _ERRORS[k] for k in (404, 503)})
    def metadata(name: str) -> dict[str, Any]:
        """The model's inputs, output and version."""
        served = _served(slot, name)
        return protocol.metadata(name, served.version, served.scorer.card)

    @app.get(
        "/v2/models/{name}/ready", tags=["model"], responses={k: _ERRORS[k] for k in (404, 503)}
    )
    def model_ready(name: str) -> dict[str, Any]:
        """Whether the model is loaded."""
        _served(slot, name)
        return {"name": name, "ready": True}

    @app.post(
        "/v2/models/{name}/infer",
        tags=["model"],
        responses=_ERRORS,
        response_model_exclude_none=True,
    )
    def infer(name: str, request: InferRequest) -> InferResponse:
        """Score a batch of rows: one probability a row, all by the model version that is named."""
        served = _served(slot, name)
        columns = protocol.columns_of(request, served.scorer.card.spec)
        scores = served.scorer.score(columns)
        return protocol.response(name, served.version, request.id, scores)

    return app


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
        listener.listen()
    except OSError as error:
        listener.close()
        raise RunError(
            f"host {host}, port {port}: cannot listen there: {error.strerror}: "
            "choose another port with --port, or another address with --host"
        ) from None
    return listener


def serve(slot: ModelSlot, listener: socket.socket) -> None:
    """Serve ``slot`` until interrupted; SIGTERM and SIGINT finish the requests under way first."""
    server = uvicorn.Server(uvicorn.Config(create_app(slot), log_level="warning"))
    with listener:
        server.run(sockets=[listener])


def _served(slot: ModelSlot, name: str) -> Served:
    if name != slot.name:
        raise HTTPException(404, f"there is no model {name!r}: this server has {slot.name!r}")
    served = slot.live
    if served is None:
        raise HTTPException(503, f"model {name!r} is not loaded yet")
    return served


def _map_errors(app: FastAPI) -> None:
    """The one place that turns exceptions into v2 error objects."""

    @app.exception_handler(ScoreError)
    def cannot_score(_: Request, error: ScoreError) -> Response:
        return _error(400, protocol.score_error(error))

    @app.exception_handler(RequestError)
    def bad_request(_: Request, error: RequestError) -> Response:
        return _error(400, protocol.bad_request(error))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        kind = request.headers.get("content-type", "none")
        if not kind.partition(";")[0].strip().endswith("json"):
            reason = f"is {kind!r}: must be application/json"
            return _error(415, protocol.wrong("content-type", reason))
        return _error(400, protocol.malformed(error.errors()))

    @app.exception_handler(HTTPException)
    def refused(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, ErrorResponse(error=str(error.detail)), error.headers)

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _error(500, ErrorResponse(error="the server failed; its log says why"))


def _error(status: int, error: ErrorResponse, headers: Any = None) -> Response:
    # ASCII only: a message may quote half a surrogate pair, which has no UTF-8.
    content = json.dumps(error.model_dump(exclude_none=True))
    return Response(content, status, headers, media_type="application/json")
