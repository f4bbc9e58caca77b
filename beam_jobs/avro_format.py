"""How Avro messages are framed, and where their schemas are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stream_prune.errors import ConfigError
from stream_prune.secret_values import refuse_written_secrets

NONE, CONFLUENT = "none", "confluent"


@dataclass(frozen=True)
class AvroFormat:
    """The schemas of Avro messages; files (``.avro``) carry their own.

    Attributes:
        schema: an ``.avsc`` file: the reader's schema, which older and newer messages are resolved
            against; without framing also the one that they were written with.
        framing: ``none``, or ``confluent``: a zero byte and the schema's id (four bytes) come
            first.
        registry: address of a schema registry.
        registry_auth: ``${env:NAME}`` with ``user:password`` for the registry.
        ids: schema files by id, instead of a registry.
    """

    schema: Path | None = None
    framing: str = NONE
    registry: str | None = None
    registry_auth: str | None = None
    ids: Mapping[int, Path] = field(default_factory=dict)

    def __hash__(self) -> int:
        schemas = tuple(sorted(self.ids.items()))
        return hash((self.schema, self.framing, self.registry, self.registry_auth, schemas))

    def __post_init__(self) -> None:
        place = "source.avro"
        if self.framing not in (NONE, CONFLUENT):
            raise ConfigError(f"{place}.framing = {self.framing!r}: must be {NONE} or {CONFLUENT}")
        if self.framing == NONE and (self.registry is not None or self.ids):
            raise ConfigError(
                f"{place}.framing = 'none': a registry and ids go with framing: confluent"
            )
        if self.framing == CONFLUENT and (self.registry is None) == (not self.ids):
            raise ConfigError(
                f"{place}.framing = 'confluent': name either a registry, or files by id in ids"
            )
        if self.registry is not None and not self.registry.startswith(("http://", "https://")):
            raise ConfigError(f"{place}.registry = {self.registry!r}: must begin with http(s)://")
        if self.registry_auth is not None:
            refuse_written_secrets({"credentials": self.registry_auth}, f"{place}.registry_auth")
