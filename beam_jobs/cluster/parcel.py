"""What readers send to the writer of the log: a chunk with its letters, or how a reader stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from beam_jobs.columnar_coder import ColumnarCoder
from beam_jobs.dead_letters import Letter
from beam_jobs.kafka_records import Original
from beam_jobs.validate import Validated

_CODER = ColumnarCoder()


class Parcel(msgspec.Struct, frozen=True):
    """One element between readers and the writer.

    A chunk travels with the letters of its rows: a commit that covers a row then has its letter.

    Attributes:
        reading: the number of the reading that it belongs to; 0: the reader knows none.
        columns: a validated chunk, encoded; None: this one tells how the reader stands.
        letters: fields of each letter, then of its original record.
        unreadable: messages about what stops the job.
        positions: per partition the next offset.
        ends: per partition its end as far as is known.
        reader: the number of the reader that tells how it stands.
    """

    reading: int
    columns: bytes | None = None
    letters: tuple[tuple[Any, ...], ...] = ()
    unreadable: tuple[str, ...] = ()
    positions: dict[int, int] = {}
    ends: dict[int, int] = {}
    reader: int | None = None

    def encode(self) -> bytes:
        """The parcel as bytes (MessagePack)."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(data: bytes) -> Parcel:
        """The inverse of :meth:`encode`."""
        return msgspec.msgpack.decode(data, type=Parcel)

    @property
    def chunk(self) -> Validated | None:
        """The chunk, without the raw columns that its rows were encoded from."""
        return None if self.columns is None else _CODER.decode(self.columns)

    def told(self) -> list[Letter]:
        """The letters."""
        return [_letter(*fields) for fields in self.letters]


def pack(reading: int, validated: Validated, letters: list[Letter]) -> bytes:
    """A parcel of a chunk: its encoded rows, and the records as they were read."""
    decoded = validated.decoded
    light = replace(validated, decoded=replace(decoded, rows=decoded.rows.slice(0, 0)))
    fields = tuple(_fields(letter) for letter in letters)
    return Parcel(reading, _CODER.encode(light), fields).encode()


def _fields(letter: Letter) -> tuple[Any, ...]:
    record = letter.record
    assert isinstance(record, Original)
    place = (letter.partition, letter.offset, letter.kind, letter.reason)
    where = (record.topic, record.partition, record.offset, record.timestamp)
    return (*place, *where, record.key, record.value, record.headers)


def _letter(
    number: int, at: int, kind: str, reason: str, topic: str, partition: int, offset: int,
    timestamp: int, key: bytes | None, value: bytes | None, headers: list[Any],
) -> Letter:  # fmt: skip
    named = tuple((str(name), data) for name, data in headers)
    original = Original(topic, partition, offset, timestamp, key, value, named)
    return Letter(number, at, kind, reason, original)
