"""A CSV file as a partition: rows are lines, counted from 0 after the header."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from beam_jobs.columnar_coder import columnar
from beam_jobs.dead_letters import UNDECODABLE, Letter
from beam_jobs.options import CsvFormat
from stream_prune.errors import ConfigError, RunError


@columnar
@dataclass(frozen=True)
class CsvLines:
    """Undecoded lines, each with its line break, and the header that names their values."""

    header: tuple[str, ...]
    lines: tuple[bytes, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all lines."""
        return sum(map(len, self.lines))


class CsvFile:
    """Reads lines by row number; going on where the last read ended costs no search."""

    rows: int | None = None  # known only once every line was read

    def __init__(self, path: Path, form: CsvFormat) -> None:
        self.path = path
        with path.open("rb") as file:
            first = file.readline()
            start = file.tell()
        if not first.strip():
            raise RunError(f"{path}: is empty: a CSV file begins with a line of column names")
        try:
            text = first.decode("utf-8-sig").rstrip("\r\n")
            self.header = tuple(next(csv.reader([text], delimiter=form.delimiter, strict=True)))
        except (UnicodeDecodeError, csv.Error) as error:
            raise RunError(f"{path}: cannot be read as CSV: the first line: {error}") from None
        twice = [name for name in self.header if self.header.count(name) > 1]
        if twice:
            raise ConfigError(f"{path}: column {twice[0]!r} is there twice: names must differ")
        self._end = max(start, _end_of_text(path))
        self._start = self._at = (0, start)

    @property
    def schema(self) -> pa.Schema:
        """Every column is text."""
        return pa.schema([(name, pa.string()) for name in self.header])

    def read(self, offset: int, rows: int) -> tuple[CsvLines, int, bool] | None:
        """Up to ``rows`` rows from ``offset``, how many they are, and whether the file ends there.

        None if the file ends before ``offset``.
        """
        with self.path.open("rb") as file:
            here, position = self._at if self._at[0] <= offset else self._start
            file.seek(position)
            for line in islice(file, offset - here):
                here += position < self._end
                position += len(line)
            if here < offset:
                return None
            lines = []
            for line in islice(file, rows):
                if position >= self._end:
                    break
                position += len(line)
                lines.append(line)
        if lines and not lines[-1].endswith(b"\n"):
            lines[-1] += b"\n"
        self._at = (offset + len(lines), position)
        return CsvLines(self.header, tuple(lines)), len(lines), position >= self._end


def _end_of_text(path: Path) -> int:
    """Where blank lines at the end of the file begin."""
    with path.open("rb") as file:
        end = file.seek(0, io.SEEK_END)
        while end:
            size = min(end, 1 << 16)
            file.seek(end - size)
            end -= size - len(block := file.read(size).rstrip(b"\r\n"))
            if block:
                break
    return end


def decode_lines(
    text: CsvLines, form: CsvFormat, partition: int, offset: int
) -> tuple[pa.RecordBatch, list[int], list[Letter]]:
    """The rows, the place of each among the lines, and what cannot be decoded.

    A line is a row if, on its own, it is valid UTF-8 and has one value per column.
    """
    tables: list[pa.Table] = []
    places: list[int] = []
    letters: list[Letter] = []
    todo = [(0, text.lines)]
    while todo:
        first, lines = todo.pop()
        parsed = _parse(text.header, lines, form)
        if isinstance(parsed, str) and len(lines) > 1:
            half = len(lines) // 2
            todo += [(first + half, lines[half:]), (first, lines[:half])]
        elif isinstance(parsed, str):
            letters.append(_undecodable(partition, offset + first, parsed, lines[0]))
        else:
            table, bad = parsed
            tables.append(table)
            places += [first + i for i in range(len(lines)) if i not in bad]
            letters += [
                _undecodable(partition, offset + first + i, reason, lines[i])
                for i, reason in bad.items()
            ]
    schema = pa.schema([(name, pa.string()) for name in text.header])
    table = pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
    return pa.RecordBatch.from_arrays(
        [pa.concat_arrays(column.chunks) if column.chunks else pa.array([], pa.string())
         for column in table.columns],
        schema=schema,
    ), places, letters  # fmt: skip


def _parse(
    header: tuple[str, ...], lines: tuple[bytes, ...], form: CsvFormat
) -> tuple[pa.Table, dict[int, str]] | str:
    """A table and the lines with too few or too many values; or why not every line is a record."""
    if not lines:
        return pa.schema([(name, pa.string()) for name in header]).empty_table(), {}
    data = b"".join(lines)
    try:
        data.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    bad: dict[int, str] = {}

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        bad[row.number - 1] = (
            f"has {row.actual_columns} values, the header has {row.expected_columns}"
        )
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(header), use_threads=False, block_size=len(data) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=form.delimiter, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in header},
                null_values=list(form.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        return str(error)
    swallowed = table.num_rows and any(
        "\n" in (column[-1].as_py() or "") for column in table.columns
    )
    if table.num_rows + len(bad) != len(lines) or swallowed:
        return "a quoted value is not closed on its line, or a line break stands within the line"
    return table, bad


def _undecodable(partition: int, offset: int, reason: str, line: bytes) -> Letter:
    text = line.rstrip(b"\r\n").decode(errors="backslashreplace")
    return Letter(partition, offset, UNDECODABLE, reason, text)
