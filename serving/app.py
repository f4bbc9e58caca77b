"""The HTTP application: the Open Inference Protocol v2 and MLflow's, over a model slot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving import errors, openapi, protocol
from serving.access import KeyCheck, Keys
from serving.config import ServingConfig
from serving.direct import Direct
from serving.errors import ErrorObject, RequestError
from serving.follow import Follower
from serving.measured import Counted, Measured
from serving.metrics import CONTENT_TYPE
from serving.model_slot import ModelSlot
from serving.service import Service
from stream_prune.artifact import ScoreError
from stream_prune.errors import ConfigError, RunError

if TYPE_CHECKING:
    from serving.grpc_server import GrpcServer

_log = logging.getLogger(__name__)

DEFAULTS = ServingConfig()


def create_app(
    slot: ModelSlot, config: ServingConfig = DEFAULTS, follower: Follower | None = None
) -> FastAPI:
    """The application that answers for the model in ``slot``.

    Its OpenAPI page is at ``/docs``, and comes with its script and style from this server, so that
    a network without a way out shows it. Every error is a v2 error object; a client never sees a
    trace.

    Args:
        slot: holds the model.
        config: what the server takes, and from whom.
        follower: started and stopped with the application; None: the model stays.

    Raises:
        ConfigError: a key that ``config`` names is missing.
    """
    service = Service(slot, config, follower)
    keys, counted = Keys(config), Counted(slot.metrics)
    rpc = None if config.grpc_port is None else _grpc(service, keys, counted, config)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if follower is not None:
            follower.start()
        if rpc is not None:
            await rpc.start()
        yield
        if rpc is not None:
            await rpc.stop()
        if follower is not None:
            await asyncio.to_thread(follower.stop)
        service.scoring.close()

    app = FastAPIOffline(
        redoc_url=None,  # one page; Redoc's would fetch a picture from elsewhere
        static_url=openapi.PAGE_FILES,
        title="stream_prune",
        summary="Scores of a model that stays small while it learns.",
        version="2",
        lifespan=life,
    )
    app.state.service, app.state.grpc = service, rpc
    # Requests that wait for one another need the application's tasks.
    waits = config.batching.wait_ms > 0
    app.state.direct = None if waits else Direct(service, keys, counted)
    app.add_middleware(KeyCheck, keys=keys)
    app.add_middleware(Measured, counted=counted)
    _map_errors(app)
    _add_scoring(app, service)
    _add_descriptions(app, service)
    _add_repository(app, service)
    openapi.describe(app, slot, config)
    return app


def _grpc(service: Service, keys: Keys, counted: Counted, config: ServingConfig) -> GrpcServer:
    try:
        from serving.grpc_server import GrpcServer
    except ImportError as error:
        raise ConfigError(
            f"grpc_port = {config.grpc_port}: gRPC needs the extra `grpc` "
            f"(pip install 'stream-prune[grpc]'): {error}"
        ) from None
    return GrpcServer(service, keys, counted, config)


def _add_scoring(app: FastAPI, service: Service) -> None:
    """Routes that read their bodies themselves, at a fraction of what FastAPI takes for it."""
    for path, endpoint in (
        (openapi.INFER, service.infer),
        (openapi.INFER_VERSION, service.infer),
        (openapi.INVOCATIONS, service.invocations),
    ):
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))


def _add_descriptions(app: FastAPI, service: Service) -> None:
    slot = service.slot
    missing = openapi.errors(404, 503)

    @app.get("/v2", tags=["server"])
    async def server() -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return {"name": "stream_prune", "version": "2", "extensions": list(protocol.EXTENSIONS)}

    @app.get("/metrics", tags=["server"], response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(slot.metrics.exposition(), media_type=CONTENT_TYPE)

    @app.get("/v2/health/live", tags=["health"])
    async def live() -> dict[str, bool]:
        """Whether the server answers."""
        return {"live": True}

    @app.get("/v2/health/ready", tags=["health"], responses=openapi.errors(503))
    async def ready() -> dict[str, bool]:
        """Whether a model is loaded."""
        service.served(slot.name)
        return {"ready": True}

    @app.get("/ping", tags=["MLflow"], responses=openapi.errors(503))
    @app.get("/health", tags=["MLflow"], responses=openapi.errors(503))
    async def healthy() -> dict[str, bool]:
        """Whether a model is loaded, where MLflow's servers say it."""
        service.served(slot.name)
        return {"ready": True}

    @app.get("/v2/models/{name}", tags=["model"], responses=missing)
    @app.get("/v2/models/{name}/versions/{version}", tags=["model"], responses=missing)
    async def metadata(name: str, version: str | None = None) -> dict[str, Any]:
        """The model's inputs, its output, and the versions that may be asked for."""
        served = service.served(name, version)
        return protocol.metadata(name, slot.versions, served.scorer.card)

    @app.get("/v2/models/{name}/ready", tags=["model"], responses=missing)
    @app.get("/v2/models/{name}/versions/{version}/ready", tags=["model"], responses=missing)
    async def model_ready(name: str, version: str | None = None) -> dict[str, Any]:
        """Whether the model is loaded."""
        service.served(name, version)
        return {"name": name, "ready": True}


def _add_repository(app: FastAPI, service: Service) -> None:
    refused = openapi.errors(401, 403, 404, 409, 503)

    @app.post("/v2/repository/index", tags=["repository"])
    async def index() -> list[dict[str, str]]:
        """The versions that are loaded; the one that answers is READY."""
        slot = service.slot
        return [
            {
                "name": slot.name,
                "version": version,
                "state": "READY" if at == 0 else "UNAVAILABLE",
                "reason": "" if at == 0 else "kept for a rollback",
            }
            for at, version in enumerate(slot.versions)
        ]

    @app.post("/v2/repository/models/{name}/load", tags=["repository"], responses=refused)
    async def load(name: str) -> dict[str, str]:
        """Look at the alias now, and serve its version. The answer says which one answers then."""
        return {"name": name, "version": (await service.load(name)).version}

    @app.post("/v2/repository/models/{name}/rollback", tags=["repository"], responses=refused)
    async def rollback(name: str) -> dict[str, str]:
        """Serve the version before again, until the alias moves or a load is asked for."""
        return {"name": name, "version": (await service.roll_back(name)).version}


def _map_errors(app: FastAPI) -> None:
    """The one place that turns exceptions into v2 error objects."""

    @app.exception_handler(ScoreError)
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: Exception) -> Response:
        return errors.response(error)

    @app.exception_handler(RunError)
    async def could_not(request: Request, error: RunError) -> Response:
        # Its message names paths and addresses: for the log, not for a client.
        _log.error("%s %s: %s", request.method, request.url.path, error)
        reason = "could not be done, what was served goes on; the server's log says why"
        return errors.response(RequestError(reason, status=409))

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        return errors.answer(error.status_code, ErrorObject(str(error.detail)), error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return errors.failed()
