"""Files of events that a person hands to a command: Parquet, CSV, JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=list(null_values),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)


def _kind(path: Path) -> str:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path}: the name must end with one of {', '.join(KINDS)}")
    return kind
