"""Columns -> JSON messages, one object each, without a Python object per number."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.produce.avro import Messages


def encode(columns: pa.RecordBatch) -> Messages:
    """The rows of ``columns`` [B]: numbers, text, lists and nulls; times as integer ms (UTC)."""
    parts: list[Any] = []
    for place, name in enumerate(columns.schema.names):
        parts.append(("{" if place == 0 else ",") + json.dumps(name) + ":")
        parts.append(_values(columns.column(place)))
    joined = pc.binary_join_element_wise(*parts, "}", "")
    offsets = np.frombuffer(joined.buffers()[1], np.int32, len(joined) + 1, joined.offset * 4)
    return Messages(joined.buffers()[2].to_pybytes(), offsets.astype(np.int64))


def _values(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    if pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("ms", tz=kind.tz)).cast(pa.int64())
        text = values.cast(pa.string())
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        text = values.cast(pa.string())
    elif pa.types.is_floating(kind):
        finite = pc.if_else(pc.is_finite(values), values, None)  # JSON knows no others
        text = finite.cast(pa.float64()).cast(pa.string())
    elif pa.types.is_null(kind):
        text = values.cast(pa.string())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = values.dictionary_encode()  # each distinct text is quoted once
        quoted = pa.array([json.dumps(word) for word in coded.dictionary.to_pylist()], pa.string())
        text = pc.take(quoted, coded.indices)
    else:
        text = pa.array([json.dumps(v, default=str) for v in values.to_pylist()], pa.string())
    return pc.fill_null(text, "null")
