"""Chunks as they lie on disk -> Arrow record batches of raw columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.columnar_coder import columnar
from beam_jobs.csv_file import CsvLines, decode_lines
from beam_jobs.dead_letters import UNDECODABLE, Letter
from beam_jobs.log_source import Chunk
from beam_jobs.options import CsvFormat


@columnar
@dataclass(frozen=True)
class Decoded:
    """The decodable rows [B] of a chunk and the offset of each; the chunk spans [start, stop)."""

    partition: int
    start: int
    stop: int
    ends: bool
    rows: pa.RecordBatch
    offsets: npt.NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return int(self.rows.nbytes)

    def record(self, offset: int) -> dict[str, Any]:
        """The row at an offset, as plain values."""
        at = int(np.searchsorted(self.offsets, offset))
        return dict(self.rows.slice(at, 1).to_pylist()[0])


def decode(chunk: Chunk, csv: CsvFormat) -> tuple[Decoded, list[Letter]]:
    """The rows of a chunk, and a letter for each that cannot be decoded."""
    letters: list[Letter] = []
    if isinstance(chunk.data, CsvLines):
        rows, places, letters = decode_lines(chunk.data, csv, chunk.partition, chunk.start)
        offsets = chunk.start + np.asarray(places, np.int64)
    else:
        rows, offsets = chunk.data, np.arange(chunk.start, chunk.stop)
    return Decoded(chunk.partition, chunk.start, chunk.stop, chunk.ends, rows, offsets), letters


class DecodeChunk(beam.DoFn):  # type: ignore[misc]
    """Chunk -> Decoded; Letters go to ``undecodable``."""

    def __init__(self, csv: CsvFormat) -> None:
        self._csv = csv

    def process(self, element: Chunk) -> Iterator[Any]:
        decoded, letters = decode(element, self._csv)
        yield decoded
        for letter in letters:
            yield beam.pvalue.TaggedOutput(UNDECODABLE, letter)


class Decode(beam.PTransform):  # type: ignore[misc]
    """Chunks -> ``decoded`` and ``undecodable``."""

    def __init__(self, csv: CsvFormat) -> None:
        super().__init__()
        self._csv = csv

    def expand(self, chunks: Any) -> Any:
        return chunks | (
            beam.ParDo(DecodeChunk(self._csv))
            .with_input_types(Chunk)
            .with_output_types(Decoded)
            .with_outputs(UNDECODABLE, main="decoded")
        )
