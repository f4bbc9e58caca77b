"""A writer's schema against a reader's: which columns of the one become those of the other.

The rules are the Avro specification's, "Schema Resolution", column by column: fields go by name or
by the reader's alias, an absent one takes the reader's default, numbers are promoted. What the
columns cannot express (nested records, wider unions) is left to fastavro, record by record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from beam_jobs.avro_program import NestedError, Program, Schema, program_of
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec

_NUMBERS = ("int", "long", "float", "double")
_TEXTS = ("string", "bytes", "enum")


@dataclass(frozen=True)
class Resolved:
    """How messages of one writer's schema are read.

    Attributes:
        writer, reader: the schemas; without a reader's the writer's own columns are taken.
        program: reads the writer's columns; None: fastavro reads the records.
        sources: by wanted column, the field of the writer's schema.
        constants: by wanted column that the writer's schema lacks, the reader's default.
        wide: columns of integers that the reader has as floating point numbers.
        refused: why no message of this schema can be used; None if they can.
    """

    writer: Schema
    reader: Schema | None
    program: Program | None = None
    sources: Mapping[str, str] | None = None
    constants: Mapping[str, Any] | None = None
    wide: frozenset[str] = frozenset()
    refused: str | None = None


def resolve(spec: FeatureSpec, writer: Schema, reader: Schema | None) -> Resolved:
    """How to read what was written with ``writer`` as the columns of ``spec``.

    Raises:
        ConfigError: the reader's schema lacks a column.
    """
    fields = {field["name"]: field for field in writer["fields"]}
    wanted = _reader_fields(spec, reader)
    sources: dict[str, str] = {}
    constants: dict[str, Any] = {}
    wide = set()
    for name in spec.columns:
        field = wanted[name]
        found = next((n for n in (name, *field.get("aliases", ())) if n in fields), None)
        if found is None and "default" not in field:
            told = f"its schema has no field {name!r}, and the reader's schema no default for it"
            return Resolved(writer, reader, refused=told)
        if found is None:
            constants[name] = field["default"]
            continue
        sources[name] = found
        kinds = _kind(fields[found]["type"]), _kind(field.get("type", fields[found]["type"]))
        if None in kinds:
            return Resolved(writer, reader)
        if not _fits(*kinds):
            told = f"field {name!r} is {kinds[0]} in its schema, {kinds[1]} in the reader's"
            return Resolved(writer, reader, refused=told)
        if kinds[0] in ("int", "long") and kinds[1] in ("float", "double"):
            wide.add(name)
    if any(isinstance(value, dict | list) for value in constants.values()):
        return Resolved(writer, reader)
    try:
        program = program_of(writer, set(sources.values()))
    except NestedError:
        return Resolved(writer, reader)
    return Resolved(writer, reader, program, sources, constants, frozenset(wide))


def _reader_fields(spec: FeatureSpec, reader: Schema | None) -> dict[str, Any]:
    if reader is None:
        return {name: {} for name in spec.columns}
    fields = {field["name"]: field for field in reader["fields"]}
    for name in spec.columns:
        if name not in fields:
            raise ConfigError(
                f"source.avro.schema: has no field {name!r}, which the feature specification "
                f"names; there are: {', '.join(fields)}"
            )
    return fields


def _kind(type_: Any) -> str | None:
    """The name of a type, of the other branch of a union with null; None for what is nested."""
    if isinstance(type_, list):
        others = [t for t in type_ if t != "null"]
        if len(others) != 1:
            return "null" if not others else None
        type_ = others[0]
    if isinstance(type_, Mapping):
        type_ = type_["type"] if not isinstance(type_["type"], Mapping) else None
    return type_ if isinstance(type_, str) and "." not in type_ else None


def _fits(writer: str | None, reader: str | None) -> bool:
    if writer in _NUMBERS and reader in _NUMBERS:
        return _NUMBERS.index(writer) <= _NUMBERS.index(reader)
    return writer == reader or (writer in _TEXTS and reader in _TEXTS) or writer == "null"


def adapted(resolved: Resolved, found: Mapping[str, pa.Array], rows: int) -> dict[str, pa.Array]:
    """The wanted columns [B] from those that the program has read."""
    columns = {}
    for name, source in (resolved.sources or {}).items():
        values = found[source]
        columns[name] = values.cast(pa.float64()) if name in resolved.wide else values
    for name, value in (resolved.constants or {}).items():
        columns[name] = pa.nulls(rows) if value is None else pa.repeat(pa.scalar(value), rows)
    return columns
