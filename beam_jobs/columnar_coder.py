"""How Beam serialises chunks of rows, where it has to: as Arrow streams beside a line of JSON."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
import pyarrow as pa

_COLUMNAR: dict[str, type] = {}

T = TypeVar("T", bound=type)


def columnar(kind: T) -> T:
    """Class decorator: Beam serialises this dataclass by :class:`ColumnarCoder`.

    Its fields are record batches, int64 arrays, tuples of bytes, plain JSON values, and other
    columnar dataclasses or tuples of them; ``nbytes`` is its size.
    """
    _COLUMNAR[kind.__name__] = kind
    beam.coders.registry.register_coder(kind, ColumnarCoder)
    return kind


class ColumnarCoder(beam.coders.Coder):  # type: ignore[misc]
    """Columns as they lie in memory; decoding makes nothing but columnar dataclasses of data.

    In one process nothing is serialised, but Beam estimates sizes for its counters; with its
    default coder it would pickle most chunks to throw the bytes away, half of a pipeline's time.
    """

    def encode(self, value: Any) -> bytes:
        batches: list[pa.RecordBatch] = []
        outline = json.dumps(_outline(value, batches)).encode()
        return b"".join(
            [len(outline).to_bytes(8, "little"), outline, *(_stream(batch) for batch in batches)]
        )

    def decode(self, encoded: bytes) -> Any:
        start = 8 + int.from_bytes(encoded[:8], "little")
        source = pa.BufferReader(pa.py_buffer(encoded).slice(start))
        outline = json.loads(encoded[8:start])
        return _rebuilt(outline, source)

    def estimate_size(self, value: Any) -> int:
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        return False


def _outline(value: Any, batches: list[pa.RecordBatch]) -> Any:
    """The value as JSON, its columns left out and collected in ``batches``, in order."""
    if isinstance(value, pa.RecordBatch):
        batches.append(value)
        return {"is": "batch"}
    if isinstance(value, np.ndarray):
        batches.append(pa.record_batch([pa.array(value, pa.int64())], ["values"]))
        return {"is": "array"}
    if isinstance(value, tuple) and value and isinstance(value[0], bytes):
        batches.append(pa.record_batch([pa.array(value, pa.large_binary())], ["values"]))
        return {"is": "bytes"}
    if isinstance(value, tuple):
        return [_outline(item, batches) for item in value]
    if is_dataclass(value):
        parts = {f.name: _outline(getattr(value, f.name), batches) for f in fields(value)}
        return {"is": type(value).__name__, "fields": parts}
    return value


def _rebuilt(outline: Any, source: pa.BufferReader) -> Any:
    """The inverse of :func:`_outline`; ``source`` holds the streams in the same order."""
    if isinstance(outline, list):
        return tuple(_rebuilt(item, source) for item in outline)
    if not isinstance(outline, dict):
        return outline
    kind = outline["is"]
    if kind in _COLUMNAR:
        parts = {name: _rebuilt(part, source) for name, part in outline["fields"].items()}
        return _COLUMNAR[kind](**parts)
    with pa.ipc.open_stream(source) as reader:
        (batch,) = reader
    if kind == "batch":
        return batch
    values = batch.column(0)
    return values.to_numpy() if kind == "array" else tuple(values.to_pylist())


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data
