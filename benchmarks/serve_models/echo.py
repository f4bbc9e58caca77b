"""A server that does nothing: reads a request and answers with bytes of an answer's size.

    python echo.py

It says its port, and shows what uvicorn, the system and the client cost on this machine by
themselves, at this moment.
"""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

BODY = b'{"model_name":"clicks","model_version":"1","outputs":[{"name":"score","shape":[1],' \
    b'"datatype":"FP32","data":[0.25]}]}'  # fmt: skip
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body", False):
        continue
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"nothing at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app, http="httptools", loop="uvloop", ws="none", lifespan="off", log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
