"""The events of a historical log in the order of their event times, a stretch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.decode import Formats, decode
from beam_jobs.log_source import FileSource, Range
from stream_prune.errors import ConfigError
from stream_prune.event_times import event_times
from stream_prune.features import FeatureSpec

STRETCH = 1 << 18
"""Rows that are planned together."""

_READ = 1 << 16
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Stretch:
    """Events [B] in order of their event times (ms, ties as they lie in the files).

    ``first``: number of the first among all that are played.
    """

    first: int
    rows: pa.RecordBatch
    times: npt.NDArray[np.int64]


class PlayedLog:
    """The rows of files that have an event time, merged; the others are counted.

    Args:
        source: the files; each is more or less in the order of its event times.
        spec: the columns that events have; an event key that no file has is added, as
            ``"event-NUMBER"``.
        rounds: how often the log is played. Event times of a round go on where the one before
            ended, whole days later, so that hours stay hours.
    """

    def __init__(self, source: FileSource, spec: FeatureSpec, rounds: int = 1) -> None:
        self._source, self._spec, self._rounds = source, spec, rounds
        schema = source.open(0).schema
        names = spec.columns if schema is None else tuple(schema.names)  # JSON says none
        self._adds_key = spec.event_key is not None and spec.event_key not in names
        self._in_files = replace(spec, event_key=None) if self._adds_key else spec
        self._columns = list(self._in_files.columns)
        lacking = [name for name in self._columns if name not in names]
        if lacking:
            there = ", ".join(names)
            raise ConfigError(
                f"{source.files[0]}: column {lacking[0]!r} is missing; there are: {there}"
            )
        self.skipped = 0
        self.rows = rounds * self._count()

    def stretches(self) -> Iterator[Stretch]:
        """The events of all rounds; call it once."""
        number, shift, first_time, last_time = 0, 0, None, 0
        for _ in range(self._rounds):
            for table, times in self._merged():
                for start in range(0, table.num_rows, STRETCH):
                    rows, when = table.slice(start, STRETCH), times[start : start + STRETCH]
                    first_time = int(when[0]) if first_time is None else first_time
                    last_time = max(last_time, int(when.max()))
                    yield self._stretch(number, rows, when + shift)
                    number += rows.num_rows
            if first_time is not None:
                shift += (last_time - first_time) // DAY_MS * DAY_MS + DAY_MS

    def _stretch(self, number: int, rows: pa.Table, times: npt.NDArray[np.int64]) -> Stretch:
        arrays = {name: _one(rows.column(name)) for name in self._columns}
        arrays[self._spec.event_time] = pa.array(times)
        if self._adds_key:
            numbers = np.arange(number, number + rows.num_rows).astype(str)
            arrays[str(self._spec.event_key)] = pa.array(np.char.add("event-", numbers))
        return Stretch(number, pa.RecordBatch.from_pydict(arrays), times)

    def _merged(self) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
        """All rows up to the event time that every file has reached, again and again."""
        reading = [self._read(i) for i in range(len(self._source.files))]
        waiting: list[tuple[pa.Table, npt.NDArray[np.int64]] | None]
        waiting = [next(chunks, None) for chunks in reading]
        while any(chunk is not None for chunk in waiting):
            reached = min(int(times.max()) for _, times in filter(None, waiting))
            parts = []
            for i, chunk in enumerate(waiting):
                if chunk is None:
                    continue
                table, times = chunk
                cut = int(np.searchsorted(np.maximum.accumulate(times), reached, side="right"))
                parts.append((table.slice(0, cut), times[:cut]))
                rest = (table.slice(cut), times[cut:])
                waiting[i] = rest if rest[0].num_rows else next(reading[i], None)
            times = np.concatenate([times for _, times in parts])
            table = pa.concat_tables([table for table, _ in parts], promote_options="permissive")
            if len(parts) > 1:
                order = np.argsort(times, kind="stable")
                table, times = table.take(order), times[order]
            yield table, times

    def _read(self, partition: int) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
        offset = 0
        while chunk := self._source.read(Range(partition, offset, _READ)):
            offset = chunk.stop
            decoded, letters = decode(chunk, self._in_files, Formats(csv=self._source.csv))
            values = decoded.rows.column(self._spec.event_time)
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            times = event_times(self._spec.event_time, values)
            timed = times >= 0
            self.skipped += len(letters) + int((~timed).sum())
            table = pa.Table.from_batches([decoded.rows]).select(self._columns)
            if not timed.all():
                table, times = table.filter(pa.array(timed)), times[timed]
            if len(times):
                yield table, times
            if chunk.ends:
                return

    def _count(self) -> int:
        known = self._source.rows()
        if known is not None:
            return known
        rows = 0
        for partition in range(len(self._source.files)):
            offset = 0
            while chunk := self._source.read(Range(partition, offset, _READ)):
                offset = chunk.stop
                if chunk.ends:
                    break
            rows += offset
        return rows


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole
