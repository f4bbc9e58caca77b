"""The files of an artifact's tables: rows in safetensors, ids in Arrow; written without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import save_file

from stream_prune.artifact.format import IDS, TABLES
from stream_prune.tensor_files import system_errors

Stored = npt.NDArray[np.generic]
Ids = npt.NDArray[np.int64]


def write_tables(folder: Path, rows: Mapping[str, Stored], ids: Mapping[str, Ids]) -> None:
    """Write ``tables.safetensors`` and ``ids.arrow``; equal tables give equal bytes.

    Args:
        folder: of the artifact.
        rows: by table, as :mod:`.stored_rows` has them: the cold ones, then the ids' own.
        ids: by table, ascending.

    Raises:
        OSError: they can't be written.
    """
    with system_errors():
        save_file(dict(rows), folder / TABLES)
    columns = {
        "table": pa.array(list(ids), pa.string()),
        "ids": pa.array(list(ids.values()), pa.large_list(pa.int64())),
    }
    write_arrow(folder / IDS, pa.table(columns))


def projection_name(table: str) -> str:
    """What ``head.safetensors`` calls the projection [w, D] of a table whose rows are narrow.

    No other tensor there has such a name: of those with a bar only parts of packed ones end in a
    part's name.
    """
    return f"tables|{table}|projection"


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write an Arrow file."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
