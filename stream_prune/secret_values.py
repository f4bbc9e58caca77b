"""Settings of other people's clients, passed on as they are; secrets come from the environment.

A configuration file holds ``${env:NAME}`` where a secret belongs, so that neither the file, nor the
copy of it that a run keeps, nor any message has the secret in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stream_prune.errors import ConfigError

_REFERENCE = re.compile(r"\$\{env:([^}]*)\}")
_SECRET = re.compile(r"password|secret|token|jaas|pem|\bssl[._]key$|credential", re.IGNORECASE)
_NO_SECRET = re.compile(r"(location|url|uri|endpoint|callback|provider)$", re.IGNORECASE)


def flat_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as dotted names, which is what ``--set a.b.c=1`` makes of them.

    >>> flat_settings({"sasl": {"mechanism": "PLAIN"}, "fetch.min.bytes": 1})
    {'sasl.mechanism': 'PLAIN', 'fetch.min.bytes': 1}
    """
    return dict(_flat(values, ""))


def _flat(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, value


def refuse_written_secrets(settings: Mapping[str, Any], place: str) -> None:
    """Raises ConfigError where a secret stands in the settings itself; its value is not told."""
    for name, value in flat_settings(settings).items():
        if not _SECRET.search(name) or _NO_SECRET.search(name):
            continue
        if isinstance(value, str) and value and not _REFERENCE.search(value):
            raise ConfigError(
                f"{place}.{name}: a secret must not stand in a file or on a command line: write "
                "${env:NAME} and set that environment variable"
            )


def with_secrets(settings: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The settings with every ``${env:NAME}`` replaced by what the environment says.

    >>> os.environ["DOCTEST_PASSWORD"] = "xyzzy"
    >>> with_secrets({"password": "${env:DOCTEST_PASSWORD}", "port": 1}, "consumer")
    {'password': 'xyzzy', 'port': 1}

    Raises:
        ConfigError: a variable is not set.
    """

    def look_up(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise ConfigError(
                f"{place}: the environment variable {match[1]} is not set, which "
                f"{match[0]} asks for"
            )
        return value

    return {
        name: _REFERENCE.sub(look_up, value) if isinstance(value, str) else value
        for name, value in flat_settings(settings).items()
    }


def without_secrets(text: str, settings: Mapping[str, Any]) -> str:
    """``text`` with every value that came from the environment blotted out.

    >>> os.environ["DOCTEST_PASSWORD"] = "xyzzy"
    >>> without_secrets("refused: xyzzy", {"password": "${env:DOCTEST_PASSWORD}"})
    'refused: ***'
    """
    for value in flat_settings(settings).values():
        for name in _REFERENCE.findall(value) if isinstance(value, str) else ():
            if secret := os.environ.get(name):
                text = text.replace(secret, "***")
    return text
