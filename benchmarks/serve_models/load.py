"""Load on an HTTP server: as fast as it answers, or at a constant rate.

A client of its own, because a general one takes more processor time for a request than the server.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import uvloop

Check = Callable[[int, int, bytes], None]
"""Told of every answer: number of the request, status, body."""


@dataclass
class Load:
    """What was sent and what came of it; latencies in seconds from when a request was due."""

    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds


def request(path: str, body: bytes, kind: str = "application/json") -> bytes:
    """A whole HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class _Connection(asyncio.Protocol):
    """One request after another; ``answer`` is done when the answer to the last is there."""

    def __init__(self) -> None:
        self._got = b""
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, content: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(content)  # type: ignore[attr-defined]
        return self.answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 : at + 40].split(b"\r\n")[0]) if at >= 0 else 0
        if len(body) >= length and self.answer is not None:
            self._got = b""
            answer, self.answer = self.answer, None
            answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("closed"))


def full(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int = 4,
    seconds: float | None = None,
    until: Callable[[int], bool] | None = None,
    check: Check | None = None,
) -> Load:
    """As many requests as the server answers, each connection one at a time.

    Args:
        port: of 127.0.0.1.
        requests: sent in turn.
        connections: that are open.
        seconds: how long; or
        until: told how many have been answered, whether it is enough.
        check: told of every answer.
    """
    return uvloop.run(_full(port, requests, connections, seconds, until, check))


async def _full(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    seconds: float | None,
    until: Callable[[int], bool] | None,
    check: Check | None,
) -> Load:
    load, begun, sent = Load(), time.perf_counter(), 0
    deadline = None if seconds is None else begun + seconds

    async def one() -> None:
        nonlocal sent
        connection = await _connect(port)
        while True:
            now = time.perf_counter()
            if (deadline is not None and now >= deadline) or (
                until is not None and until(len(load.latencies))
            ):
                break
            at, sent = sent, sent + 1
            await _one(load, connection, requests, at, now, check)
        connection.transport.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    load.seconds = time.perf_counter() - begun
    return load


def steady(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Requests at a constant rate; one that is due while all connections wait is not left out.

    Args:
        port: of 127.0.0.1.
        requests: sent in turn.
        rate: requests a second.
        seconds: how long.
    """
    with asyncio.Runner(loop_factory=_punctual) as runner:
        return runner.run(_steady(port, requests, rate, seconds))


def _punctual() -> asyncio.AbstractEventLoop:
    """A loop whose timers keep time to some 0.1 ms; epoll's, which others wait by, to 1 ms."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _steady(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    load, begun, total = Load(), time.perf_counter() + 0.05, int(rate * seconds)
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(8):
        free.put_nowait(await _connect(port))
    under_way = set[asyncio.Task[None]]()

    async def one(connection: _Connection, at: int, due: float) -> None:
        await _one(load, connection, requests, at, due, None)
        free.put_nowait(connection)

    for at in range(total):
        due = begun + at / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        if free.empty():
            connection = await free.get()
        else:
            connection, due = free.get_nowait(), time.perf_counter()  # late is this client here
        task = asyncio.create_task(one(connection, at, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    load.seconds = time.perf_counter() - begun
    while not free.empty():
        free.get_nowait().transport.close()
    return load


async def _one(
    load: Load,
    connection: _Connection,
    requests: Sequence[bytes],
    at: int,
    due: float,
    check: Check | None,
) -> None:
    status, body = await connection.ask(requests[at % len(requests)])
    load.latencies.append(time.perf_counter() - due)
    load.failed += status != 200
    if check is not None:
        check(at, status, body)


async def _connect(port: int) -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
    return connection
