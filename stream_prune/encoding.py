"""Raw event columns to what the mini-batch log stores and a model is fed: stateless and columnar.

Training and serving call the same function; rows that cannot be used are named with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.category_ids import category_ids
from stream_prune.errors import ConfigError
from stream_prune.event_times import event_times, in_seconds
from stream_prune.features import (
    EVENT_KEY,
    EVENT_TIME,
    FLOAT32_MAX,
    LABEL,
    MISSING_ID,
    SERVED_SCORE,
    STRING,
    Categorical,
    Dense,
    FeatureSpec,
)

_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_ID_RANGE = f"an integer id must be in [0, {MISSING_ID - 1}]"


@dataclass(frozen=True)
class Encoded:
    """What became of a raw batch.

    Attributes:
        batch: the good rows, encoded.
        good: bool [rows of the raw batch]: which those are.
        reasons: for every other row its number and why it cannot be used.
    """

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
            self.reasons[row] = f"column {column!r}: {_shown(values[row])}: {allowed}"
        self.good &= ~bad


def encode(spec: FeatureSpec, raw: pa.RecordBatch, *, labels: bool = True) -> Encoded:
    """Encode raw columns into what the mini-batch log stores and what a model is fed.

    With ``labels=False`` (serving) only the input columns are read. The result has, in this order,
    dense columns (float32, transformed), categorical columns (int64, or list<int64>), and with
    labels ``__event_time`` (int64 ms), ``__label`` (float32, null = unlabelled) and, if the spec
    names them, ``__event_key`` and ``__served_score`` (float32, null = none was served). Empty
    text in a numeric column counts as missing.

    Raises:
        ConfigError: a column is missing or of a type that can't hold what the spec says.
    """
    names = raw.schema.names
    for name in spec.columns if labels else spec.inputs:
        if names.count(name) != 1:
            what = "there twice" if name in names else "missing"
            raise ConfigError(f"column {name!r} is {what}; there are: {', '.join(names)}")
    rows = _Rows(raw.num_rows)
    columns: dict[str, pa.Array] = {}
    for dense in spec.dense:
        columns[dense.name] = _encode_dense(dense, raw.column(dense.name), rows)
    for categorical in spec.categorical:
        encoder = _encode_lists if categorical.multi else _encode_single
        columns[categorical.name] = encoder(categorical, raw.column(categorical.name), rows)
    if labels:
        columns[EVENT_TIME] = _encode_time(spec.event_time, raw.column(spec.event_time), rows)
        columns[LABEL] = _encode_label(spec.label, raw.column(spec.label), rows)
        if spec.event_key is not None:
            columns[EVENT_KEY] = _encode_key(spec.event_key, raw.column(spec.event_key), rows)
        if spec.served_score is not None:
            served = raw.column(spec.served_score)
            columns[SERVED_SCORE] = _encode_score(spec.served_score, served, rows)
    batch = pa.RecordBatch.from_pydict(columns)
    if not rows.good.all():
        batch = batch.filter(pa.array(rows.good))
    return Encoded(batch, rows.good, sorted(rows.reasons.items()))


def _encode_dense(column: Dense, raw: pa.Array, rows: _Rows) -> pa.Array:
    values = _plain(raw)
    x, unreadable = _numbers(column.name, values)
    rows.refuse(unreadable, column.name, values, "is no number")
    absent = np.isnan(x)
    if column.missing is None:
        allowed = "is missing (give the column a `missing` value to accept this)"
        rows.refuse(absent, column.name, values, allowed)
    else:
        x = np.where(absent, column.missing, x)
    too_large = np.abs(x) > FLOAT32_MAX
    rows.refuse(too_large, column.name, values, "must be a finite float32 number")
    x = np.where(rows.good, x, 0.0)
    if column.transform == "log1p":
        x = np.log1p(np.maximum(x, 0.0))
    elif column.transform == "clip":
        x = np.clip(x, column.low, column.high)
    return pa.array(x.astype(np.float32))


def _encode_label(column: str, raw: pa.Array, rows: _Rows) -> pa.Array:
    values = _plain(raw)
    x, unreadable = _numbers(column, values)
    absent = _blank(values)
    bad = unreadable | ~(absent | (x == 0) | (x == 1))
    rows.refuse(bad, column, values, "a label is 0, 1 or null")
    return pa.array(np.where(rows.good & ~absent, x, 0).astype(np.float32), mask=absent)


def _encode_score(column: str, raw: pa.Array, rows: _Rows) -> pa.Array:
    values = _plain(raw)
    x, unreadable = _numbers(column, values)
    absent = np.isnan(x) & ~unreadable
    bad = unreadable | ~(absent | ((x >= 0) & (x <= 1)))
    rows.refuse(bad, column, values, "a served score is a probability in [0, 1] or null")
    return pa.array(np.where(rows.good & ~absent, x, 0).astype(np.float32), mask=absent)


def _encode_single(column: Categorical, values: pa.Array, rows: _Rows) -> pa.Array:
    if _is_list(values.type):
        raise ConfigError(
            f"column {column.name!r} holds lists: the feature specification says one id a row "
            "(multi: false)"
        )
    ids, bad = category_ids(column.name, column.type, values)
    rows.refuse(bad, column.name, values, _ID_RANGE)
    return pa.array(ids)


def _encode_lists(column: Categorical, values: pa.Array, rows: _Rows) -> pa.Array:
    if pa.types.is_null(values.type):
        values = values.cast(pa.list_(pa.null()))
    if not _is_list(values.type):
        raise ConfigError(
            f"column {column.name!r} holds one id a row: the feature specification says lists "
            "(multi: true)"
        )
    held = values.type.value_type
    # Arrow flattens lists of its null type to the wrong number of nulls.
    lists = values.cast(pa.list_(pa.int64() if pa.types.is_null(held) else held))
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
    ids, bad = category_ids(column.name, column.type, lists.flatten())
    bad_rows = np.zeros(len(values), np.bool_)
    bad_rows[np.repeat(np.arange(len(values)), lengths)[bad]] = True
    rows.refuse(bad_rows, column.name, values, _ID_RANGE)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))


def _encode_time(column: str, raw: pa.Array, rows: _Rows) -> pa.Array:
    values = _plain(raw)
    times = event_times(column, values)
    allowed = "is no event time: ISO 8601 or milliseconds since 1970 (UTC) up to the year 9999 are"
    rows.refuse(times < 0, column, values, allowed)
    rows.refuse(
        in_seconds(values, times),
        column,
        values,
        "looks like seconds since 1970 (as milliseconds it would lie early in that year): "
        "multiply by 1,000, or store a timestamp",
    )
    return pa.array(np.maximum(times, 0))


def _encode_key(column: str, values: pa.Array, rows: _Rows) -> pa.Array:
    ids, _ = category_ids(column, STRING, values)
    rows.refuse(ids == MISSING_ID, column, values, "an event needs its key")
    return pa.array(ids)


def _numbers(
    column: str, values: pa.Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Numbers, NaN where there is none, and which rows hold something that is no number [B]."""
    kind, unreadable = values.type, np.zeros(len(values), np.bool_)
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif _is_text(kind):
        text = pc.ascii_trim_whitespace(values)
        number = pc.match_substring_regex(text, _NUMBER)
        unreadable = ~(pc.fill_null(number, False).to_numpy(False) | _blank(values))
        values = pc.if_else(number, text, None)
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise ConfigError(f"column {column!r} has the type {kind}: numbers are needed")
    x = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return x.astype(np.float64), unreadable


def _plain(values: pa.Array) -> pa.Array:
    """The column without dictionary or view encoding, which not every kernel knows."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.string()) if pa.types.is_string_view(values.type) else values


def _blank(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Nulls, and text of nothing but white space [B]."""
    absent = values.is_null()
    if _is_text(values.type):
        absent = pc.or_(absent, pc.match_substring_regex(values, r"^\s*$").fill_null(True))
    blank: npt.NDArray[np.bool_] = absent.to_numpy(zero_copy_only=False)
    return blank


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _shown(value: pa.Scalar) -> str:
    """A value for a message, whatever it is: text that is no UTF-8, a time no calendar has."""
    if _is_text(value.type) and value.is_valid:
        return repr(value.as_buffer().to_pybytes()[:320].decode(errors="replace")[:80])
    if pa.types.is_temporal(value.type):
        return str(value.cast(pa.string()).as_py())
    return repr(value.as_py())[:80]
