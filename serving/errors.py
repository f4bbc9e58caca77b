"""What a client is told when it cannot be answered: a status and a v2 error object."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from stream_prune.artifact import ScoreError

JSON = "application/json"


class ErrorObject(msgspec.Struct, omit_defaults=True):
    """The v2 error object; ``field`` and ``row`` say where, ``reason`` what is wrong with it."""

    error: str
    field: str | None = None
    row: int | None = None
    reason: str | None = None


class RequestError(Exception):
    """A request that is refused.

    Args:
        reason: what is wrong, and what must be.
        field: the tensor, the header or the place in the JSON.
        status: of the answer.
        row: of the value, counted from 0.
        headers: of the answer.
    """

    def __init__(
        self,
        reason: str,
        field: str | None = None,
        *,
        status: int = 400,
        row: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.reason, self.field, self.status, self.row = reason, field, status, row
        self.headers = headers
        super().__init__(reason if field is None else f"{field}: {reason}")


def described(error: RequestError | ScoreError) -> ErrorObject:
    """What a client is told of it."""
    if isinstance(error, RequestError):
        reason = None if error.field is None else error.reason
        return _writable(ErrorObject(str(error), error.field, error.row, reason))
    return _writable(ErrorObject(str(error), error.column, error.row, error.reason))


def response(error: Exception) -> Response:
    """The answer to a request that was refused: a RequestError or a ScoreError."""
    assert isinstance(error, RequestError | ScoreError)
    if isinstance(error, RequestError):
        return answer(error.status, described(error), error.headers)
    return answer(400, described(error))


def answer(status: int, error: ErrorObject, headers: Mapping[str, str] | None = None) -> Response:
    """An error object as an HTTP response."""
    error = _writable(error)
    return Response(msgspec.json.encode(error), status, headers, media_type=JSON)


def failed() -> Response:
    """The answer to a request that the server could not handle, whoever is to blame."""
    return answer(500, ErrorObject("the server failed; its log says why"))


def _writable(error: ErrorObject) -> ErrorObject:
    """A message may quote half a surrogate pair, which UTF-8 can't write."""
    for name in ("error", "field", "reason"):
        text = getattr(error, name)
        if text is not None:
            setattr(error, name, text.encode(errors="replace").decode())
    return error
