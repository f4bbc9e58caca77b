"""Files on disk as partitions of a log: ranges of rows in, chunks of undecoded rows out."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from beam_jobs.avro_file import AvroFile, forget_blocks
from beam_jobs.columnar_coder import columnar
from beam_jobs.csv_file import CsvFile, CsvLines
from beam_jobs.json_file import JsonFile, JsonLines
from beam_jobs.kafka_records import KafkaRecords
from beam_jobs.options import CsvFormat
from beam_jobs.parquet_file import ParquetFile, forget_row_groups
from stream_prune.errors import ConfigError, RunError

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".avro": "avro",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
UNREADABLE = "unreadable"
LogFile = ParquetFile | CsvFile | AvroFile | JsonFile


@dataclass(frozen=True)
class Range:
    """Rows [offset, offset + rows) of a partition; the file may end before."""

    partition: int
    offset: int
    rows: int


@columnar
@dataclass(frozen=True)
class Chunk:
    """Undecoded rows [start, stop) of a partition; ``ends``: it has no more."""

    partition: int
    start: int
    stop: int
    ends: bool
    data: pa.RecordBatch | CsvLines | JsonLines | KafkaRecords

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return int(self.data.nbytes)


@dataclass(frozen=True)
class FileSource:
    """The files of a log in sorted order; a file's place among them is its partition.

    Those of clicks to be joined come after all others, from the partition ``clicks_from`` on, and
    their conversions from ``conversions_from`` on.
    """

    files: tuple[Path, ...]
    format: str = "parquet"
    csv: CsvFormat = field(default_factory=CsvFormat)
    clicks_from: int | None = None
    conversions_from: int | None = None

    def open(self, partition: int) -> LogFile:
        """The file of a partition, kept open over calls as long as it does not change.

        Raises:
            RunError: the file can't be read.
        """
        path = self.files[partition]
        try:
            stat = path.stat()
            return _open(path, self.format, self.csv, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None

    def has_rows(self, partition: int) -> bool:
        """Whether the file of a partition has any row.

        Raises:
            RunError: the file can't be read.
        """
        known = self.open(partition).rows
        if known is not None:
            return known > 0
        chunk = self.read(Range(partition, 0, 1))
        return chunk is not None and chunk.stop > 0

    def close(self) -> None:
        """Let go of what is kept of files, this source's or another's."""
        _open.cache_clear()
        forget_row_groups()
        forget_blocks()

    def rows(self) -> int | None:
        """Rows of all files; None if only reading them would tell.

        Raises:
            RunError: a file can't be read.
        """
        known = [self.open(partition).rows for partition in range(len(self.files))]
        return None if None in known else sum(rows or 0 for rows in known)

    def read(self, wanted: Range) -> Chunk | None:
        """The rows of a range; None if the file ends before it.

        Raises:
            RunError: the file can't be read.
        """
        file = self.open(wanted.partition)
        try:
            found = file.read(wanted.offset, wanted.rows)
        except (OSError, pa.ArrowException) as error:
            raise RunError(
                f"{file.path}: cannot be read at row {wanted.offset + 1}: {error}"
            ) from None
        if found is None:
            return None
        data, rows, ends = found
        return Chunk(wanted.partition, wanted.offset, wanted.offset + rows, ends, data)


@lru_cache(maxsize=256)
def _open(
    path: Path,
    form: str,
    csv: CsvFormat,
    size: int,  # noqa: ARG001  size and time tell a file that has changed from one that has not
    changed: int,  # noqa: ARG001
) -> LogFile:
    if form == "csv":
        return CsvFile(path, csv)
    if form == "avro":
        return AvroFile(path)
    return JsonFile(path) if form == "jsonl" else ParquetFile(path)


def find_files(patterns: tuple[str, ...]) -> tuple[Path, ...]:
    """The files that paths, folders and patterns name, sorted.

    Raises:
        ConfigError: one of them names nothing.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            inside = {p for p in path.iterdir() if p.is_file() and p.suffix in SUFFIXES}
        elif path.exists():
            inside = {path}
        else:
            inside = {Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file()}  # noqa: PTH207
        if not inside:
            raise ConfigError(f"source.files: {pattern!r}: there is no such file, or none in it")
        found |= {file.resolve(): file for file in inside}  # one file, however it is spelt
    return tuple(sorted(found.values()))


def find_format(files: tuple[Path, ...], form: str) -> str:
    """``form``, or for ``auto`` what the suffixes of all files say.

    Raises:
        ConfigError: they say nothing, or not all the same.
    """
    if form != "auto":
        return form
    formats = {SUFFIXES.get(path.suffix) for path in files}
    if len(formats) != 1 or None in formats:
        suffixes = ", ".join(sorted({path.suffix or "none" for path in files}))
        raise ConfigError(
            f"source.format = 'auto': the files have the suffixes {suffixes}: must all be "
            ".parquet, .csv, .avro or .jsonl; otherwise say source.format: parquet, csv, avro or "
            "jsonl"
        )
    return str(formats.pop())


class ReadRange(beam.DoFn):  # type: ignore[misc]
    """Range -> Chunk; a file that can't be read goes to ``unreadable`` with its message."""

    def __init__(self, source: FileSource) -> None:
        self._source = source

    def process(self, element: Range) -> Iterator[Any]:
        try:
            chunk = self._source.read(element)
        except RunError as error:
            yield beam.pvalue.TaggedOutput(UNREADABLE, str(error))
            return
        if chunk is not None:
            yield chunk


class ReadLog(beam.PTransform):  # type: ignore[misc]
    """Ranges -> ``chunks`` and ``unreadable`` messages."""

    def __init__(self, source: FileSource) -> None:
        super().__init__()
        self._source = source

    def expand(self, ranges: Any) -> Any:
        return ranges | (
            beam.ParDo(ReadRange(self._source))
            .with_input_types(Range)
            .with_output_types(Chunk)
            .with_outputs(UNREADABLE, main="chunks")
        )
