"""Files of events that a person hands to a command: Parquet, CSV, JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from stream_prune.errors import ConfigError, RunError

KINDS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def read_events(
    path: Path,
    kind: str | None = None,
    delimiter: str = ",",
    null_values: Sequence[str] = ("", "NA"),
) -> pa.Table:
    """The rows of a file, by ``kind`` or by what its name ends with.

    A CSV file's values are text, as they are for the replay job: nothing is guessed.

    Raises:
        ConfigError: there is no such file, or its name says none of :data:`KINDS`.
        RunError: it can't be read as that.
    """
    kind = kind or _kind(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        if kind == "parquet":
            return pyarrow.parquet.read_table(path)
        if kind == "csv":
            return _read_csv(path, delimiter, null_values)
        return pyarrow.json.read_json(path)
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path}: cannot be read as {kind}: {error}") from None


def write_events(events: pa.Table, path: Path) -> None:
    """Write rows to a file, by what its name ends with.

    Raises:
        ConfigError: its name says none of :data:`KINDS`.
    """
    kind = _kind(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        pyarrow.parquet.write_table(events, path)
    elif kind == "csv":
        pyarrow.csv.write_csv(events, path)
    else:
        lines = (json.dumps(row, default=str) + "\n" for row in events.to_pylist())
        path.write_text("".join(lines), encoding="utf-8")


def _read_csv(path: Path, delimiter: str, null_values: Sequence[str]) -> pa.Table:
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter)
    with path.open("rb") as file:
        first = pa.BufferReader(file.readline())
    names = pyarrow.csv.read_csv(first, parse_options=parse).column_names
    for name in names:
        if names.count(name) > 1:
            raise RunError(f"{path}: row 1: column {name!r} is there twice")
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=list(null_values),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        return pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid:
        _name_bad_line(path, delimiter)
        raise


def _name_bad_line(path: Path, delimiter: str) -> None:
    """Read once more, on one thread, which counts lines; a row too short or too long is named."""
    bad: list[pyarrow.csv.InvalidRow] = []

    def noted(row: pyarrow.csv.InvalidRow) -> str:
        bad.append(row)
        return "error"

    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=noted)
    one = pyarrow.csv.ReadOptions(use_threads=False)
    with suppress(pa.ArrowInvalid):
        pyarrow.csv.read_csv(path, read_options=one, parse_options=parse)
    if bad:
        row = bad[0]
        raise RunError(
            f"{path}: row {row.number} (the names are row 1, empty lines do not count): has "
            f"{row.actual_columns} values, there are {row.expected_columns} columns: "
            f"{row.text[:80]!r}: mend or remove it; no row was used"
        )


def _kind(path: Path) -> str:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path}: the name must end with one of {', '.join(KINDS)}")
    return kind
