"""Event files that appear whole: a Parquet file of events that says what it was made from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stream_prune.errors import ConfigError

ROW_GROUP_ROWS = 1 << 16


def event_path(folder: str | Path, name: str, rows: int | None) -> Path:
    """``name.parquet`` in ``folder``; ``name-ROWS.parquet`` of a stream's first ``rows`` events.

    Raises:
        ConfigError: ``rows`` is below 1.
    """
    if rows is not None and rows < 1:
        raise ConfigError(f"rows = {rows}: must be 1 or more")
    return Path(folder) / (f"{name}.parquet" if rows is None else f"{name}-{rows}.parquet")


def is_made_from(path: Path, source: str) -> bool:
    """Whether ``path`` is a whole event file that :func:`write_events` wrote from ``source``."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):  # none there, or none of ours: it is written anew
        return False
    return metadata.get(b"made_from") == source.encode()


def write_events(
    path: Path, source: str, tables: Iterable[pa.Table], dictionaries: bool = True
) -> None:
    """Write events [B] table by table; the file has its name only when it is complete.

    Args:
        path: the file; its folder is made.
        source: what the events were made from, for :func:`is_made_from`.
        tables: one or more, of one schema; no more than one is held.
        dictionaries: encode columns by dictionary: smaller where values repeat, slower to write.
    """
    with replacing(path) as temporary:
        writer = None
        try:
            for table in tables:
                if writer is None:
                    schema = table.schema.with_metadata({b"made_from": source.encode()})
                    writer = pq.ParquetWriter(
                        temporary, schema, compression="zstd", use_dictionary=dictionaries
                    )
                writer.write_table(
                    table.replace_schema_metadata(schema.metadata), row_group_size=ROW_GROUP_ROWS
                )
        finally:
            if writer is not None:
                writer.close()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what lies there afterwards takes the place of ``path``, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
