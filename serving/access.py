"""Who may ask: API keys, compared in constant time."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.config import ServingConfig
from serving.errors import RequestError, response

_OPEN = ("/v2/health/", "/health", "/ping")
"""What probes ask: it says nothing about the model and costs nothing."""
ADMIN = "/v2/repository/"


class Keys:
    """The keys of a server, by what they are for.

    Args:
        config: names the environment variables that hold them.

    Raises:
        ConfigError: a variable is not set, or a key is easily guessed.
    """

    def __init__(self, config: ServingConfig) -> None:
        admin, score = config.access.keys("admin_key_env"), config.access.keys("key_env")
        self._admin = None if admin is None else _encoded(admin)
        self._score = None if score is None else _encoded((*score, *(admin or ())))
        self._local = config.local

    def refusal(self, path: str, given: str | None) -> RequestError | None:
        """Why a request may not be answered; None: it may.

        Args:
            path: of the request.
            given: the key that came with it.
        """
        if path.startswith(ADMIN) and path != f"{ADMIN}index":
            if self._admin is None and not self._local:
                return RequestError(
                    "no key for this is configured (access.admin_key_env), so that only a server "
                    "that listens on 127.0.0.1 allows it",
                    "authorization",
                    status=403,
                )
            allowed = self._admin or self._score
        elif path.startswith(_OPEN):
            return None
        else:
            allowed = self._score
        if allowed is None:
            return None
        key = (given or "").encode(errors="replace")
        # Every key is compared, so that time tells nothing about which was close.
        if any([hmac.compare_digest(key, one) for one in allowed]):  # noqa: C419
            return None
        reason = "is missing: send `Authorization: Bearer KEY`" if given is None else "is unknown"
        return RequestError(
            f"the key {reason}", "authorization", status=401, headers={"www-authenticate": "Bearer"}
        )


class KeyCheck:
    """ASGI middleware: requests without a good key go no further.

    Args:
        app: what it stands before.
        keys: the good ones.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = key_of(Headers(scope=scope).get("authorization"))
            refusal = self._keys.refusal(scope["path"], given)
            if refusal is not None:
                await response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def key_of(authorization: str | None) -> str | None:
    """The key in an Authorization header; None without one."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _encoded(keys: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(key.encode() for key in keys)
