"""Addresses without secrets: a password is named in them, and put in when connecting."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, urlsplit

from stream_prune.errors import ConfigError

_NAMED = re.compile(r"\$\{env:(\w+)\}")


def check(field: str, uri: str) -> None:
    """Refuse a password in plain text: configurations are stored, shown and logged.

    Raises:
        ConfigError: there is one; the message says where to put it.
    """
    try:
        password = urlsplit(uri).password
    except ValueError as error:
        raise ConfigError(f"{field}: is no address: {error}") from None
    if password and not _NAMED.fullmatch(password):
        way = (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, and leave both out here"
            if uri.startswith("http")
            else "write ${env:NAME} in its place and set that variable"
        )
        raise ConfigError(f"{field}: holds a password, which would be stored and shown: {way}")


def filled(uri: str) -> str:
    """The address with every ``${env:NAME}`` replaced by that environment variable.

    Raises:
        ConfigError: it is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ConfigError(f"{uri}: the environment variable {match[1]} is not set")
        return quote(found, safe="")

    return _NAMED.sub(value, uri)


def hidden(text: str, *uris: str) -> str:
    """A text without what the environment put into addresses."""
    for uri in uris:
        for name in _NAMED.findall(uri):
            secret = os.environ.get(name)
            for form in () if not secret else (secret, quote(secret, safe="")):
                text = text.replace(form, f"${{env:{name}}}")
    return text
