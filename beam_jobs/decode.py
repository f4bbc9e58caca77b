"""Chunks as they lie on disk or in a topic -> Arrow record batches of raw columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.avro_format import AvroFormat
from beam_jobs.avro_messages import avro_columns
from beam_jobs.columnar_coder import columnar
from beam_jobs.csv_file import CsvLines, decode_lines
from beam_jobs.dead_letters import UNDECODABLE, Letter
from beam_jobs.json_columns import json_columns
from beam_jobs.json_file import JsonLines
from beam_jobs.kafka_records import KafkaRecords
from beam_jobs.log_source import UNREADABLE, Chunk
from beam_jobs.options import CsvFormat
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec

AVRO, JSON = "avro", "json"


@columnar
@dataclass(frozen=True)
class Decoded:
    """The decodable rows [B] of a chunk and the offset of each; the chunk spans [start, stop).

    ``records``: what a topic's rows were decoded from; None for those of a file.
    """

    partition: int
    start: int
    stop: int
    ends: bool
    rows: pa.RecordBatch
    offsets: npt.NDArray[np.int64]
    records: KafkaRecords | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return int(self.rows.nbytes)

    def letter(self, offset: int, kind: str, reason: str) -> Letter:
        """A dead letter with the row at an offset as it was read."""
        if self.records is not None:
            return Letter(self.partition, offset, kind, reason, self.records.original(offset))
        at = int(np.searchsorted(self.offsets, offset))
        record = dict(self.rows.slice(at, 1).to_pylist()[0])
        return Letter(self.partition, offset, kind, reason, record)


@dataclass(frozen=True)
class Formats:
    """How chunks are decoded: what is in a topic, and how CSV and Avro are written."""

    messages: str = JSON
    csv: CsvFormat = field(default_factory=CsvFormat)
    avro: AvroFormat = field(default_factory=AvroFormat)


def decode(chunk: Chunk, spec: FeatureSpec, forms: Formats) -> tuple[Decoded, list[Letter]]:
    """The rows of a chunk, and a letter for each that cannot be decoded.

    Raises:
        ConfigError: an Avro schema can't be used.
        RunError: the schema registry does not answer.
    """
    data, letters = chunk.data, list[Letter]()
    if isinstance(data, CsvLines):
        rows, places, letters = decode_lines(data, forms.csv, chunk.partition, chunk.start)
        return _decoded(chunk, rows, chunk.start + np.asarray(places, np.int64)), letters
    if isinstance(data, JsonLines):
        offsets = np.arange(chunk.start, chunk.stop)
        columns, bad = json_columns(spec, data.lines)
        for row, reason in bad.items():
            text = data.lines[row].rstrip(b"\r\n").decode(errors="backslashreplace")
            letters.append(Letter(chunk.partition, chunk.start + row, UNDECODABLE, reason, text))
    elif isinstance(data, KafkaRecords):
        offsets = data.offsets
        if forms.messages == AVRO:
            columns, bad = avro_columns(spec, forms.avro, data.values)
        else:
            columns, bad = json_columns(spec, data.values.to_pylist())
        for row, reason in bad.items():
            original = data.original(int(offsets[row]))
            letters.append(
                Letter(chunk.partition, int(offsets[row]), UNDECODABLE, reason, original)
            )
    else:
        return _decoded(chunk, data, np.arange(chunk.start, chunk.stop)), []
    rows, offsets = _without(columns, spec, bad, offsets)
    return _decoded(chunk, rows, offsets), letters


def _without(
    columns: Mapping[str, pa.Array],
    spec: FeatureSpec,
    bad: Mapping[int, str],
    offsets: npt.NDArray[np.int64],
) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
    """The rows that are not bad, and their offsets."""
    rows = pa.RecordBatch.from_pydict({name: columns[name] for name in spec.columns})
    if not bad:
        return rows, offsets
    good = np.ones(len(offsets), np.bool_)
    good[list(bad)] = False
    return rows.filter(pa.array(good)), offsets[good]


def _decoded(chunk: Chunk, rows: pa.RecordBatch, offsets: npt.NDArray[np.int64]) -> Decoded:
    records = chunk.data if isinstance(chunk.data, KafkaRecords) else None
    return Decoded(chunk.partition, chunk.start, chunk.stop, chunk.ends, rows, offsets, records)


class DecodeChunk(beam.DoFn):  # type: ignore[misc]
    """Chunk -> Decoded; Letters go to ``undecodable``, what stops the job to ``unreadable``."""

    def __init__(self, spec: FeatureSpec, forms: Formats) -> None:
        self._spec, self._forms = spec, forms

    def process(self, element: Chunk) -> Iterator[Any]:
        try:
            decoded, letters = decode(element, self._spec, self._forms)
        except (ConfigError, RunError) as error:
            yield beam.pvalue.TaggedOutput(UNREADABLE, str(error))
            return
        yield decoded
        for letter in letters:
            yield beam.pvalue.TaggedOutput(UNDECODABLE, letter)


class Decode(beam.PTransform):  # type: ignore[misc]
    """Chunks -> ``decoded``, ``undecodable`` letters and ``unreadable`` messages."""

    def __init__(self, spec: FeatureSpec, forms: Formats) -> None:
        super().__init__()
        self._spec, self._forms = spec, forms

    def expand(self, chunks: Any) -> Any:
        return chunks | (
            beam.ParDo(DecodeChunk(self._spec, self._forms))
            .with_input_types(Chunk)
            .with_output_types(Decoded)
            .with_outputs(UNDECODABLE, UNREADABLE, main="decoded")
        )
