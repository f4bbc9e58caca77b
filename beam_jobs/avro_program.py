"""From an Avro schema to the program that reads the wanted fields of its records as columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import avro_kernel as kernel

Schema = Any
"""A schema as ``fastavro.parse_schema`` returns it: names, mappings, and lists for unions."""

_KINDS = {
    "null": kernel.NULL,
    "boolean": kernel.BOOLEAN,
    "int": kernel.INTEGER,
    "long": kernel.INTEGER,
    "float": kernel.FLOAT,
    "double": kernel.DOUBLE,
    "bytes": kernel.BYTES,
    "string": kernel.BYTES,
}
_LOGICAL = {
    "timestamp-millis": pa.timestamp("ms", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "date": pa.date32(),
}
_IN_FLOATS, _IN_SPANS = ("float", "double"), ("bytes", "string")
_ITEMS = ("int", "long", "string", "boolean")


class NestedError(Exception):
    """The schema holds what no program can read as a column."""


@dataclass(frozen=True)
class Column:
    """A wanted field: its place among the instructions, its slot and what it holds.

    ``kind`` is the name of its Avro type; ``item`` of its items, for an array; ``symbols`` of an
    enumeration; ``logical``: its Arrow type if that is not the plain one.
    """

    field: int
    slot: int
    kind: str
    item: str | None = None
    symbols: tuple[str, ...] = ()
    logical: pa.DataType | None = None


@dataclass(frozen=True)
class Program:
    """Instructions [F, 4], the wanted columns by name, and how many slots each result has."""

    instructions: npt.NDArray[np.int64]
    columns: Mapping[str, Column]
    integers: int
    floats: int
    spans: int


def program_of(schema: Schema, wanted: Collection[str]) -> Program:
    """The program of a record schema for its fields named ``wanted``.

    Raises:
        NestedError: a wanted field, or a field that must be passed over, is of a nested type.
    """
    return _Compiler(schema, wanted).program()


class _Compiler:
    def __init__(self, schema: Schema, wanted: Collection[str]) -> None:
        self._named: dict[str, Schema] = {}
        self._wanted = wanted
        self._rows: list[tuple[int, int, int, int]] = []
        self._columns: dict[str, Column] = {}
        self._slots = {"integers": 0, "floats": 0, "spans": 0}
        if not isinstance(schema, Mapping) or schema.get("type") != "record":
            raise NestedError("is no record")
        self._record(schema, top=True)

    def program(self) -> Program:
        rows = np.array(self._rows, np.int64).reshape(-1, 4)
        return Program(rows, self._columns, **self._slots)

    def _record(self, schema: Schema, *, top: bool = False) -> None:
        for field in schema["fields"]:
            self._add(field["type"], field["name"] if top else None)

    def _add(self, type_: Schema, name: str | None) -> None:
        wanted = name if name in self._wanted else None
        null_branch = -1
        if isinstance(type_, list):
            kinds = [self._resolve(t) for t in type_]
            if len(kinds) == 1:
                type_ = type_[0]
            elif len(kinds) == 2 and kinds.count("null") == 1:
                null_branch = kinds.index("null")
                type_ = type_[1 - null_branch]
            else:
                raise NestedError(f"field {name!r} is a union of {len(kinds)} types")
        schema = self._resolve(type_)
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind in ("record", "error"):
            if wanted is not None or null_branch >= 0:
                raise NestedError(f"field {name!r} is a record")
            self._record(schema)  # a record is the sequence of its fields
            return
        code, argument = self._code(schema, kind, name)
        slot = -1
        if wanted is not None:
            slot = self._column(wanted, schema, kind)
        self._rows.append((code, null_branch, argument, slot))

    def _code(self, schema: Schema, kind: str, name: str | None) -> tuple[int, int]:
        if kind in _KINDS:
            return _KINDS[kind], 0
        if kind == "fixed":
            return kernel.FIXED, int(schema["size"])
        if kind == "enum":
            return kernel.ENUM, len(schema["symbols"])
        item = self._resolve(schema["items" if kind == "array" else "values"])
        item = item if isinstance(item, str) else item.get("type")
        if item not in _KINDS or item == "null":
            raise NestedError(f"field {name!r} holds items of a nested type")
        return (kernel.ARRAY if kind == "array" else kernel.MAP), _KINDS[item]

    def _column(self, name: str, schema: Schema, kind: str) -> int:
        """Make room for the results of a wanted field; returns its slot."""
        item = symbols = logical = None
        if isinstance(schema, Mapping):
            if schema.get("logicalType") == "decimal":
                raise NestedError(f"field {name!r} is a decimal")
            logical = _LOGICAL.get(schema.get("logicalType", ""))
            symbols = schema.get("symbols")
            if kind == "array":
                item = self._resolve(schema["items"])
                item = item if isinstance(item, str) else item["type"]
        if kind in ("fixed", "map") or (kind == "array" and item not in _ITEMS):
            raise NestedError(f"field {name!r} is a {kind}")
        if kind in _IN_FLOATS:
            group = "floats"
        elif kind in _IN_SPANS or kind == "array":
            group = "spans"
        else:
            group = "integers"
        slot = self._slots[group]
        self._slots[group] += 1
        place = len(self._rows)
        self._columns[name] = Column(place, slot, kind, item, tuple(symbols or ()), logical)
        return slot

    def _resolve(self, type_: Schema) -> Schema:
        """A type, named types looked up, plain ones as their bare name."""
        if isinstance(type_, str):
            return self._named.get(type_, type_)
        if isinstance(type_, list):
            raise NestedError("a union stands within another type")
        if "name" in type_:
            self._named[type_["name"]] = type_
        if set(type_) == {"type"}:
            return self._resolve(type_["type"])
        return type_
