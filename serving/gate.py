"""The limits that a scoring request meets before anything is done for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect

from serving.config import Limits
from serving.errors import RequestError
from serving.metrics import Metrics


class Gate:
    """Lets so many requests in at a time, and reads bodies of so many bytes in so many seconds.

    Args:
        limits: the settings.
        metrics: shows how many are in.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._inside = 0
        metrics.in_flight.set_function(lambda: self._inside)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """One request's place.

        Raises:
            RequestError: 429, there is none left.
        """
        if self._inside >= self._limits.in_flight:
            raise RequestError(
                f"{self._inside} requests are under way, as many as this server takes; come again",
                status=429,
                headers={"retry-after": str(self._limits.retry_after_s)},
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def body(self, declared: str | None, parts: AsyncIterable[bytes]) -> bytes:
        """The whole body.

        Args:
            declared: its size, as the header Content-Length says it.
            parts: of it.

        Raises:
            RequestError: 413, it is too large; 408, it does not come.
        """
        if declared is not None and (len(declared) > 12 or int(declared) > self._limits.body_bytes):
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.request_s):
                return await self._read(parts)
        except TimeoutError:
            raise RequestError(
                f"did not come whole in {self._limits.request_s:g} s", "body", status=408
            ) from None
        except ClientDisconnect:  # nobody is there to read this
            raise RequestError("ended before its end", "body") from None

    async def _read(self, parts: AsyncIterable[bytes]) -> bytes:
        kept, size = [], 0
        async for part in parts:
            size += len(part)
            if size > self._limits.body_bytes:
                raise self._too_large()
            kept.append(part)
        return kept[0] if len(kept) == 1 else b"".join(kept)

    def _too_large(self) -> RequestError:
        most = self._limits.body_bytes
        return RequestError(f"must have {most} bytes or fewer; send several", "body", status=413)
