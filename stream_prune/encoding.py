"""Raw event columns to what the mini-batch log stores and a model is fed: stateless and columnar.

Training and serving call the same function; rows that cannot be used are named with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.errors import ConfigError
from stream_prune.features import (
    EVENT_KEY,
    EVENT_TIME,
    LABEL,
    MISSING_ID,
    Categorical,
    Dense,
    FeatureSpec,
    hash_strings,
)


@dataclass(frozen=True)
class Encoded:
    """``batch`` holds the good rows, encoded; ``good`` [B] says which those are; ``reasons`` name the others."""

    batch: pa.RecordBatch
    good: npt.NDArray[np.bool_]
    reasons: list[tuple[int, str]]


class _Rows:
    """Collects, per row, the first reason for which it cannot be used."""

    def __init__(self, rows: int) -> None:
        self.good = np.ones(rows, np.bool_)
        self.reasons: dict[int, str] = {}

    def refuse(
        self, bad: npt.NDArray[np.bool_], column: str, values: pa.Array, allowed: str
    ) -> None:
        for row in np.flatnonzero(bad & self.good).tolist():
            self.reasons[row] = f"column {column!r}: {str(values[row].as_py())[:80]!r}: {allowed}"
        self.good &= ~bad


def encode(spec: FeatureSpec, raw: pa.RecordBatch, *, labels: bool = True) -> Encoded:
    """Encode raw columns into what the mini-batch log stores and what a model is fed.

    With ``labels=False`` (serving) only the input columns are read. The result has, in this order,
    dense columns (float32, transformed), categorical columns (int64, or list<int64>), and with labels
    ``__event_time`` (int64 ms), ``__label`` (float32, null = unlabelled) and, if the spec has a key,
    ``__event_key``.

    Raises:
        ConfigError: a column is missing or of a type that can't hold what the spec says.
    """
    wanted = spec.columns if labels else spec.inputs
    missing = [name for name in wanted if name not in raw.schema.names]
    if missing:
        raise ConfigError(
            f"column {missing[0]!r} is missing; there are: {', '.join(raw.schema.names)}"
        )
    rows = _Rows(raw.num_rows)
    columns: dict[str, pa.Array] = {}
    for dense in spec.dense:
        columns[dense.name] = _encode_dense(dense, raw.column(dense.name), rows)
    for categorical in spec.categorical:
        columns[categorical.name] = _encode_categorical(
            categorical, raw.column(categorical.name), rows
        )
    if labels:
        columns[EVENT_TIME] = _encode_time(spec.event_time, raw.column(spec.event_time), rows)
        columns[LABEL] = _encode_label(spec.label, raw.column(spec.label), rows)
        if spec.event_key is not None:
            columns[EVENT_KEY] = _encode_ids(spec.event_key, raw.column(spec.event_key), rows)
    batch = pa.RecordBatch.from_pydict(columns)
    if not rows.good.all():
        batch = batch.filter(pa.array(rows.good))
    return Encoded(batch, rows.good, sorted(rows.reasons.items()))


def _numbers(column: str, values: pa.Array, to: pa.DataType) -> pa.Array:
    """Cast to numbers; text that is no number becomes NaN-like null and is told apart by the caller."""
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int8()).cast(to)
    if (
        pa.types.is_integer(values.type)
        or pa.types.is_floating(values.type)
        or pa.types.is_null(values.type)
    ):
        return values.cast(to, safe=False)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        number = pc.match_substring_regex(values, r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$")
        return pc.if_else(number, pc.utf8_trim_whitespace(values), None).cast(to)
    raise ConfigError(f"column {column!r} has the type {values.type}: numbers are needed")


def _encode_dense(column: Dense, values: pa.Array, rows: _Rows) -> pa.Array:
    numbers = _numbers(column.name, values, pa.float64())
    x = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    rows.refuse(
        numbers.is_null().to_numpy(False) & values.is_valid().to_numpy(False),
        column.name,
        values,
        "is no number",
    )
    absent = np.isnan(x)
    if column.missing is None:
        rows.refuse(
            absent,
            column.name,
            values,
            "is missing (give the column a `missing` value to accept this)",
        )
    else:
        x = np.where(absent, column.missing, x)
    rows.refuse(
        np.isinf(x) | (np.abs(x) > np.finfo(np.float32).max), column.name, values, "must be finite"
    )
    x = np.where(rows.good, x, 0.0)
    if column.transform == "log1p":
        x = np.log1p(np.maximum(x, 0.0))
    elif column.transform == "clip":
        x = np.clip(x, column.low, column.high)
    return pa.array(x.astype(np.float32))


def _encode_ids(column: str, values: pa.Array, rows: _Rows | None) -> pa.Array:
    kind = values.type
    if pa.types.is_dictionary(kind) and not pa.types.is_string(kind.value_type):
        values = values.dictionary_decode()
        kind = values.type
    if pa.types.is_null(kind):
        return pa.array(np.full(len(values), MISSING_ID))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return pa.array(hash_strings(values))
    if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise ConfigError(f"column {column!r} has the type {kind}: ids are strings or integers")
    filled = values.cast(pa.int8()) if pa.types.is_boolean(kind) else values
    if rows is not None:
        bad = pc.or_(
            pc.less(filled, 0), pc.greater(filled.cast(pa.uint64(), safe=False), MISSING_ID - 1)
        )
        rows.refuse(
            bad.fill_null(False).to_numpy(False),
            column,
            values,
            f"an integer id must be in [0, {MISSING_ID - 1}]",
        )
    return filled.cast(pa.int64(), safe=False).fill_null(MISSING_ID)


def _encode_categorical(column: Categorical, values: pa.Array, rows: _Rows) -> pa.Array:
    is_list = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if is_list != column.multi:
        there, wanted = (
            ("lists", "one id a row") if is_list else ("one id a row", "lists (multi: true)")
        )
        raise ConfigError(
            f"column {column.name!r} holds {there}: the feature specification says {wanted}"
        )
    if not column.multi:
        return _encode_ids(column.name, values, rows)
    lists = values.cast(pa.list_(values.type.value_type)).fill_null([])
    flat = lists.flatten()
    inner = _Rows(len(flat))
    ids = _encode_ids(column.name, flat, inner)
    if not inner.good.all():
        parents = pc.list_parent_indices(lists).to_numpy(False)
        bad = np.zeros(len(values), np.bool_)
        bad[parents[~inner.good]] = True
        rows.refuse(bad, column.name, values, f"an integer id must be in [0, {MISSING_ID - 1}]")
    lengths = pc.list_value_length(lists).to_numpy(False)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), ids)


def _encode_time(column: str, values: pa.Array, rows: _Rows) -> pa.Array:
    kind = values.type
    if pa.types.is_timestamp(kind):
        milliseconds = values.cast(pa.timestamp("ms", tz=kind.tz), safe=False).cast(pa.int64())
    elif pa.types.is_integer(kind):
        milliseconds = values.cast(pa.int64())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        milliseconds = _parse_times(values)
    else:
        raise ConfigError(
            f"column {column!r} has the type {kind}: event times are timestamps, ISO 8601 or integer ms"
        )
    filled = milliseconds.fill_null(-1).to_numpy(zero_copy_only=False)
    rows.refuse(
        filled < 0,
        column,
        values,
        "is no event time: ISO 8601 or milliseconds since 1970 (UTC) are",
    )
    return pa.array(np.maximum(filled, 0))


def _parse_times(values: pa.Array) -> pa.Array:
    """ISO 8601 text to ms; what has no zone is UTC; what does not parse is null."""
    iso = pc.match_substring_regex(
        values, r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$"
    )
    zoned = pc.match_substring_regex(values, r"(Z|[+-]\d\d:?\d\d)$")
    zoned = pc.and_(zoned, pc.match_substring_regex(values, r"[T ]"))
    kept = pc.if_else(iso, values, None)
    try:
        with_zone = (
            pc.if_else(zoned, kept, None).cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
        )
        without = pc.if_else(zoned, None, kept).cast(pa.timestamp("ms")).cast(pa.int64())
    except pa.ArrowInvalid:  # the right shape, but no such day or hour: find those rows one by one
        return pa.array([_parse_time(v) for v in kept.to_pylist()], pa.int64())
    return pc.coalesce(with_zone, without)


def _parse_time(value: str | None) -> int | None:
    try:
        return (
            None
            if value is None
            else int(np.datetime64(value.removesuffix("Z"), "ms").astype(np.int64))
        )
    except ValueError:
        return None


def _encode_label(column: str, values: pa.Array, rows: _Rows) -> pa.Array:
    numbers = _numbers(column, values, pa.float32())
    x = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    unreadable = numbers.is_null().to_numpy(False) & values.is_valid().to_numpy(False)
    rows.refuse(unreadable | ~((x == 0) | (x == 1)), column, values, "a label is 0, 1 or null")
    return numbers
