"""Records of one Kafka partition as columns: what was read, undecoded."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.columnar_coder import columnar

_COLUMNS = pa.schema(
    [
        ("offset", pa.int64()),
        ("timestamp", pa.int64()),  # ms; -1: the record has none
        ("key", pa.large_binary()),
        ("value", pa.large_binary()),
    ]
)
Headers = Sequence[tuple[str, bytes | None]]

TOPIC_SPAN = 1_000_000
"""A partition's number in the mini-batch log: its own, plus this for each topic named before."""


@dataclass(frozen=True)
class Original:
    """A record as it was in its topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; bytes that are no UTF-8 text as ``{"base64": ...}``."""
        return {
            "topic": self.topic,
            "timestamp": self.timestamp,
            "key": _plain(self.key),
            "value": _plain(self.value),
            "headers": [[name, _plain(value)] for name, value in self.headers],
        }


def _plain(data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


@columnar
@dataclass(frozen=True)
class KafkaRecords:
    """Records [B] in the order of their offsets.

    Attributes:
        topic, partition: where they were read.
        columns: offset, timestamp (ms), key, value.
        packed_headers: one MessagePack value for all records' headers; none if no record has any.
        broker_times: the timestamps were set by the broker, not by producers.
    """

    topic: str
    partition: int
    columns: pa.RecordBatch
    packed_headers: tuple[bytes, ...]
    broker_times: bool

    @classmethod
    def of(
        cls,
        topic: str,
        partition: int,
        offsets: Sequence[int] | npt.NDArray[np.int64],
        timestamps: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[Headers | None],
        broker_times: bool,
    ) -> KafkaRecords:
        """The columns of what a client returned."""
        arrays = [
            pa.array(column, field.type)
            for column, field in zip((offsets, timestamps, keys, values), _COLUMNS, strict=True)
        ]
        packed = (msgspec.msgpack.encode(headers),) if any(headers) else ()
        columns = pa.RecordBatch.from_arrays(arrays, schema=_COLUMNS)
        return cls(topic, partition, columns, packed, broker_times)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return int(self.columns.nbytes)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """The offset of each record [B]."""
        return np.asarray(self.columns.column("offset").to_numpy())

    @property
    def timestamps(self) -> npt.NDArray[np.int64]:
        """The timestamp of each record [B] (ms), -1 where there is none."""
        return np.asarray(self.columns.column("timestamp").to_numpy())

    @property
    def values(self) -> pa.Array:
        """The value of each record [B]."""
        return self.columns.column("value")

    def original(self, offset: int) -> Original:
        """The record at an offset."""
        at = int(np.searchsorted(self.offsets, offset))
        row = self.columns.slice(at, 1).to_pylist()[0]
        headers: Any = ()
        if self.packed_headers:
            headers = msgspec.msgpack.decode(self.packed_headers[0])[at] or ()
        return Original(
            self.topic,
            self.partition,
            offset,
            row["timestamp"],
            row["key"],
            row["value"],
            tuple((name, value) for name, value in headers),
        )
