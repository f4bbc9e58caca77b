"""The Open Inference Protocol over gRPC, beside the HTTP server and in its event loop.

Same gate, keys, model and rules: what HTTP answers with a status, gRPC answers with its own codes,
the v2 error object in the trailing metadata ``error-object-bin``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import grpc
import msgspec

from serving import errors, grpc_protocol, protocol
from serving.access import Keys, key_of
from serving.config import ServingConfig
from serving.errors import ErrorObject, RequestError
from serving.grpc_messages import MESSAGES, SERVICE
from serving.measured import Counted
from serving.service import Service
from stream_prune.artifact import ScoreError

_log = logging.getLogger(__name__)

DETAIL = "error-object-bin"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Method: TypeAlias = Callable[[bytes], Awaitable[bytes]]


class GrpcServer:
    """Answers for a service; starts and stops with the application.

    Args:
        service: scores.
        keys: who may ask.
        counted: told of every answer.
        config: where to listen, limits, certificates.
    """

    def __init__(
        self, service: Service, keys: Keys, counted: Counted, config: ServingConfig
    ) -> None:
        self._service, self._keys, self._counted, self._config = service, keys, counted, config
        self._server: Any = None
        self.port = 0

    async def start(self) -> None:
        """Listen and answer from now on; ``port`` says where."""
        limits, access = self._config.limits, self._config.access
        assert self._config.grpc_port is not None
        server = self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limits.body_bytes),
                ("grpc.max_metadata_size", limits.header_bytes),
                ("grpc.max_connection_idle_ms", int(1_000 * limits.idle_s)),
                ("grpc.so_reuseport", 0),  # two servers on one port are a mistake
            ]
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, self._handlers()),)
        )
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        address = f"{host}:{self._config.grpc_port}"
        if access.certificate is None or access.certificate_key is None:
            self.port = server.add_insecure_port(address)
        else:
            authorities = access.client_authorities
            credentials = grpc.ssl_server_credentials(
                [(access.certificate_key.read_bytes(), access.certificate.read_bytes())],
                None if authorities is None else authorities.read_bytes(),
                authorities is not None,
            )
            self.port = server.add_secure_port(address, credentials)
        await server.start()

    async def stop(self) -> None:
        """Finish the requests under way."""
        await self._server.stop(self._config.limits.drain_s)

    def _handlers(self) -> dict[str, Any]:
        slot, infer = self._service.slot, f"/v2/models/{self._service.slot.name}/infer"

        async def live(_: bytes) -> bytes:
            return _told("ServerLiveResponse", live=True)

        async def ready(_: bytes) -> bytes:
            return _told("ServerReadyResponse", ready=slot.live is not None)

        async def server(_: bytes) -> bytes:
            extensions = list(protocol.EXTENSIONS)
            known = {"name": protocol.PLATFORM, "version": "2", "extensions": extensions}
            return _told("ServerMetadataResponse", **known)

        async def model_ready(body: bytes) -> bytes:
            asked = grpc_protocol.parsed("ModelReadyRequest", body)
            self._service.served(asked.name, asked.version or None)
            return _told("ModelReadyResponse", ready=True)

        async def model(body: bytes) -> bytes:
            asked = grpc_protocol.parsed("ModelMetadataRequest", body)
            served = self._service.served(asked.name, asked.version or None)
            card = served.scorer.card
            told = grpc_protocol.metadata(slot.name, slot.versions, card)
            return bytes(told.SerializeToString())

        methods: dict[str, tuple[Method, str]] = {
            "ServerLive": (live, "/v2/health/live"),
            "ServerReady": (ready, "/v2/health/ready"),
            "ServerMetadata": (server, "/v2"),
            "ModelReady": (model_ready, infer),
            "ModelMetadata": (model, infer),
            "ModelInfer": (self._infer, infer),
        }
        # Without a serializer a handler gets and gives bytes: what can't be parsed is answered.
        return {
            name: grpc.unary_unary_rpc_method_handler(partial(self._answer, name, method, path))
            for name, (method, path) in methods.items()
        }

    async def _infer(self, body: bytes) -> bytes:
        service = self._service
        with service.gate.entered():
            asked = grpc_protocol.parsed("ModelInferRequest", body)
            served = service.served(asked.model_name, asked.model_version or None)

            def read(_: bytes, __: Any, spec: Any, most_rows: int) -> protocol.Question:
                return grpc_protocol.question(asked, spec, most_rows)

            return (await service.scoring.answer(served, read, body, {})).body

    async def _answer(
        self, name: str, method: Method, path: str, body: bytes, context: Any
    ) -> bytes:
        begun, status = time.perf_counter(), 500
        try:
            given = {str(key): value for key, value in context.invocation_metadata() or ()}
            refusal = self._keys.refusal(path, key_of(given.get("authorization")))
            if refusal is not None:
                raise refusal
            answer = await method(body)
            status = 200
            return answer
        except (RequestError, ScoreError) as error:
            status = error.status if isinstance(error, RequestError) else 400
            await _refuse(context, _CODES.get(status, grpc.StatusCode.UNKNOWN), error)
        except Exception as error:  # noqa: BLE001 - whatever it was, a client sees no trace
            _log.error("gRPC %s failed", name, exc_info=error)
            reason = "the server failed; its log says why"
            await _refuse(context, grpc.StatusCode.INTERNAL, RequestError(reason, status=500))
        finally:
            self._counted(f"grpc {name}", status, time.perf_counter() - begun)
        raise AssertionError  # pragma: no cover - a refusal raises


async def _refuse(context: Any, code: Any, error: RequestError | ScoreError) -> None:
    told: ErrorObject = errors.described(error)
    trailing: list[tuple[str, str | bytes]] = [(DETAIL, msgspec.json.encode(told))]
    if isinstance(error, RequestError) and error.headers:
        trailing += [(key, str(value)) for key, value in error.headers.items()]
    await context.abort(code, told.error[:1_000], tuple(trailing))


def _told(kind: str, **fields: Any) -> bytes:
    return bytes(MESSAGES[kind](**fields).SerializeToString())
