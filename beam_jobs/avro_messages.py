"""Avro messages, an event each, as columns."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.avro_columns import read_columns
from beam_jobs.avro_format import CONFLUENT, AvroFormat
from beam_jobs.avro_resolution import Resolved, adapted, resolve
from beam_jobs.avro_schemas import schema_file, schema_of_id
from beam_jobs.value_columns import Bad, value_columns
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec

_HEAD = 5
Places = npt.NDArray[np.int64]


def avro_columns(
    spec: FeatureSpec, form: AvroFormat, values: pa.Array
) -> tuple[dict[str, pa.Array], Bad]:
    """The columns of a specification [B], and the rows that hold no such event.

    The values of a bad row mean nothing.

    Raises:
        ConfigError: a schema can't be used.
        RunError: the schema registry does not answer.
    """
    data, starts, ends = _bytes(values)
    absent = values.is_null().to_numpy(zero_copy_only=False)
    bad: Bad = dict.fromkeys(np.flatnonzero(absent).tolist(), "has no value")
    parts: list[tuple[Places, Mapping[str, pa.Array]]] = []
    for number, rows in _by_schema(form, data, starts, ends, absent, bad):
        resolved = _resolution(spec, form, number)
        if isinstance(resolved, str):
            bad |= dict.fromkeys(rows.tolist(), resolved)
            continue
        head = 0 if number is None else _HEAD
        columns, wrong = _read(spec, resolved, data, starts[rows] + head, ends[rows])
        bad |= {int(rows[row]): reason for row, reason in wrong.items()}
        parts.append((rows, columns))
    columns = _together(spec, parts, len(values))
    return columns, dict(sorted(bad.items()))


def _bytes(values: pa.Array) -> tuple[npt.NDArray[np.uint8], Places, Places]:
    """All bytes of a binary array and where each value lies in them."""
    offsets = np.frombuffer(values.buffers()[1], np.int64)
    offsets = offsets[values.offset : values.offset + len(values) + 1]
    buffer = values.buffers()[2]
    data = np.frombuffer(b"" if buffer is None else buffer, np.uint8)
    return data, offsets[:-1], offsets[1:]


def _by_schema(
    form: AvroFormat,
    data: npt.NDArray[np.uint8],
    starts: Places,
    ends: Places,
    absent: npt.NDArray[np.bool_],
    bad: Bad,
) -> list[tuple[int | None, Places]]:
    """Rows by the id of their schema, None where messages have none."""
    present = np.flatnonzero(~absent)
    if form.framing != CONFLUENT:
        return [(None, present)] if len(present) else []
    framed = ends[present] - starts[present] >= _HEAD
    framed[framed] = data[starts[present[framed]]] == 0
    for row in present[~framed].tolist():
        bad[row] = "does not begin with a zero byte and a schema id (source.avro.framing)"
    rows = present[framed]
    heads = data[starts[rows][:, None] + np.arange(1, _HEAD)].astype(np.int64)
    numbers = heads @ (256 ** np.arange(3, -1, -1))
    return [(int(number), rows[numbers == number]) for number in np.unique(numbers)]


@lru_cache(maxsize=1024)
def _resolution(spec: FeatureSpec, form: AvroFormat, number: int | None) -> Resolved | str:
    reader = None if form.schema is None else schema_file(form.schema)
    writer = reader if number is None else schema_of_id(form, number)
    if writer is None:
        return f"there is no schema with the id {number}"
    resolved = resolve(spec, writer, reader)
    refused = resolved.refused or _refused_types(spec, resolved)
    return resolved if refused is None else f"schema {number}: {refused}"


def _refused_types(spec: FeatureSpec, resolved: Resolved) -> str | None:
    """Why no message can be used, if a column is of a type that cannot be meant."""
    nothing = np.zeros(0, np.int64)
    columns, _ = _read(spec, resolved, np.zeros(0, np.uint8), nothing, nothing)
    try:
        encode(spec, pa.RecordBatch.from_pydict({name: columns[name] for name in spec.columns}))
    except ConfigError as error:
        return str(error)
    return None


def _read(
    spec: FeatureSpec, resolved: Resolved, data: npt.NDArray[np.uint8], starts: Places, ends: Places
) -> tuple[Mapping[str, pa.Array], Bad]:
    if resolved.program is None:
        return _read_nested(spec, resolved, data, starts, ends)
    found = read_columns(resolved.program, data, starts, ends)
    return adapted(resolved, found.columns, len(starts)), found.bad


def _read_nested(
    spec: FeatureSpec, resolved: Resolved, data: npt.NDArray[np.uint8], starts: Places, ends: Places
) -> tuple[Mapping[str, pa.Array], Bad]:
    """Record by record, for what no program can read."""
    bad: Bad = {}
    records: list[dict[str, Any]] = []
    for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        message = io.BytesIO(data[start:end].tobytes())
        try:
            record = fastavro.schemaless_reader(message, resolved.writer, resolved.reader)
        except Exception as error:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
            bad[row] = f"cannot be decoded: {type(error).__name__}: {error}"
            record = {}
        else:
            if message.tell() != end - start:
                bad[row] = "has bytes left after its last value"
        records.append(record)
    values = {name: [record.get(name) for record in records] for name in spec.columns}
    columns, unusable = value_columns(spec, values)
    return columns, {**unusable, **bad}


def _together(
    spec: FeatureSpec, parts: Sequence[tuple[Places, Mapping[str, pa.Array]]], rows: int
) -> dict[str, pa.Array]:
    """The columns of all rows, null where no part has the row."""
    if len(parts) == 1 and len(parts[0][0]) == rows:
        return dict(parts[0][1])
    places = np.full(rows, -1)
    at = 0
    for members, _ in parts:
        places[members] = np.arange(at, at + len(members))
        at += len(members)
    take = pa.array(places, mask=places < 0)
    return {
        name: _joined([columns[name] for _, columns in parts]).take(take) for name in spec.columns
    }


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    """Columns of several schemas as one: where their types differ, as text, which reads alike."""
    kinds = {column.type for column in columns if not pa.types.is_null(column.type)}
    kind = pa.string() if len(kinds) > 1 else next(iter(kinds), pa.null())
    return pa.chunked_array([column.cast(kind) for column in columns], kind).combine_chunks()
