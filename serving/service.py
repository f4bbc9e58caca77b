"""What the routes of one server share: its model, its gate, and how requests become answers."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from serving import invocations, protocol
from serving.config import ServingConfig
from serving.errors import RequestError
from serving.follow import Follower
from serving.gate import Gate
from serving.model_slot import ModelSlot, Served
from serving.scoring import Read, Scoring


class Service:
    """One server's model and what stands before it.

    Args:
        slot: holds the model.
        config: limits and the like.
        follower: loads new versions into the slot; None: the model stays.
    """

    def __init__(self, slot: ModelSlot, config: ServingConfig, follower: Follower | None) -> None:
        self.slot, self.config, self.follower = slot, config, follower
        self.gate = Gate(config.limits, slot.metrics)
        self.scoring = Scoring(slot.name, config, slot.metrics)

    def served(self, name: str, version: str | None = None) -> Served:
        """The model that answers a request.

        Raises:
            RequestError: 404, there is no such model or version here; 503, none is loaded yet.
        """
        if name != self.slot.name:
            reason = f"there is no model {name!r:.80}: this server has {self.slot.name!r}"
            raise RequestError(reason, status=404)
        served = self.slot.live if version is None else self.slot.version(version)
        if self.slot.live is None:
            raise RequestError(f"model {name!r} is not loaded yet", status=503)
        if served is None:
            held = ", ".join(self.slot.versions)
            reason = f"model {name!r} has no version {version!r:.40} here: there are {held}"
            raise RequestError(reason, status=404)
        return served

    async def scored(self, request: Request, read: Read) -> Response:
        """The answer to a request that asks for scores."""
        params = request.path_params
        with self.gate.entered():
            served = self.served(params.get("name", self.slot.name), params.get("version"))
            body = await self.gate.body(request.headers.get("content-length"), request.stream())
            reply = await self.scoring.answer(served, read, body, request.headers)
        headers = {"x-model-name": self.slot.name, "x-model-version": served.version}
        return Response(reply.body, 200, headers | reply.headers, reply.media_type)

    async def infer(self, request: Request) -> Response:
        """Scores by the Open Inference Protocol v2."""
        return await self.scored(request, protocol.question)

    async def invocations(self, request: Request) -> Response:
        """Scores by MLflow's protocol."""
        return await self.scored(request, invocations.question)

    async def load(self, name: str) -> Served:
        """Look at the alias now."""
        self.served(name)
        if self.follower is None:
            raise RequestError("this server follows nothing: start it with an alias", status=409)
        return await asyncio.to_thread(self.follower.look)

    async def roll_back(self, name: str) -> Served:
        """Go back to the version before."""
        self.served(name)
        if self.slot.previous is None:
            raise RequestError("no earlier version was served: can't go back", status=409)
        change = self.slot.roll_back if self.follower is None else self.follower.roll_back
        return await asyncio.to_thread(change)
