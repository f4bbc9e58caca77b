"""Avro schemas: from files and from a schema registry, each looked up once."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from beam_jobs.avro_format import AvroFormat
from stream_prune.errors import ConfigError, RunError
from stream_prune.secret_values import with_secrets

PATIENCE_SECONDS = 30.0
"""How long a registry may be down before the job stops."""
_PAUSE_SECONDS, _TIMEOUT_SECONDS = 1.0, 5.0


@lru_cache(maxsize=256)
def schema_file(path: Path) -> Any:
    """The schema in a file.

    Raises:
        ConfigError: it can't be read, or is none of a record.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"source.avro: {path}: cannot be read: {error.strerror}") from None
    except (ValueError, SchemaParseException) as error:
        raise ConfigError(f"source.avro: {path}: is no Avro schema: {error}") from None


def _parsed(text: str) -> Any:
    schema = fastavro.parse_schema(json.loads(text))
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ValueError("an event is a record")
    return schema


@lru_cache(maxsize=1024)
def schema_of_id(form: AvroFormat, number: int) -> Any:
    """The schema of an id; None if there is none of that id: the message is rubbish.

    A registry that is down is asked again and again for :data:`PATIENCE_SECONDS`.

    Raises:
        ConfigError: a schema can't be used.
        RunError: the registry does not answer.
    """
    if form.registry is None:
        path = form.ids.get(number)
        return None if path is None else schema_file(path)
    address = f"{form.registry.rstrip('/')}/schemas/ids/{number}"
    text = _fetch(address, form)
    if text is None:
        return None
    try:
        answer = json.loads(text)
        if answer.get("references"):
            raise ValueError("it refers to other schemas: name files in source.avro.ids instead")
        if answer.get("schemaType", "AVRO") != "AVRO":
            raise ValueError(f"it is of the type {answer['schemaType']}")
        return _parsed(answer["schema"])
    except (ValueError, KeyError, AttributeError, SchemaParseException) as error:
        raise ConfigError(f"{address}: holds no Avro schema of an event: {error}") from None


def _fetch(address: str, form: AvroFormat) -> bytes | None:
    """What the registry says; None where it says that there is no such schema."""
    request = urllib.request.Request(address, headers={"Accept": "application/json"})
    if form.registry_auth is not None:
        auth = with_secrets({"registry_auth": form.registry_auth}, "source.avro")["registry_auth"]
        token = base64.b64encode(auth.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                text: bytes = answer.read()
                return text
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code < 500:
                raise RunError(f"{address}: is refused: {error.code} {error.reason}") from None
            told: object = f"{error.code} {error.reason}"
        except OSError as error:
            told = getattr(error, "reason", error)
        if time.monotonic() > deadline:
            raise RunError(
                f"{address}: the schema registry has not answered for {PATIENCE_SECONDS:.0f} s: "
                f"{told}: start the job again when it does: nothing is lost"
            )
        time.sleep(_PAUSE_SECONDS)
