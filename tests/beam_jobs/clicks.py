"""Small click logs and what tests ask of a mini-batch log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.options import ReplayOptions
from stream_prune.features import EVENT_TIME, OFFSET, PARTITION, FeatureSpec
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.folder_log import FolderLog

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "click",
        "dense": ["price"],
        "categorical": ["user", "item"],
    }
)
LENGTH = 100


def clicks(times: list[int], **columns: list[Any]) -> pa.Table:
    """Clicks at the given times (ms); other columns may be given."""
    n = len(times)
    values = {
        "time": times,
        "click": [i % 2 for i in range(n)],
        "price": [float(i) for i in range(n)],
        "user": [f"u{i % 7}" for i in range(n)],
        "item": list(range(n)),
    }
    return pa.table({**values, **columns})


def random_times(rows: int, seed: int, disorder: int = 150, step: int = 40) -> list[int]:
    """Times that ascend by ``step`` or so, shuffled by up to ``disorder`` ms."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, step, rows)) + rng.integers(0, disorder, rows)
    return [int(t) for t in times]


def write(folder: Path, *tables: pa.Table, row_group_size: int = 64) -> tuple[str, ...]:
    """One Parquet file per table."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{i}.parquet" for i in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(table, path, row_group_size=row_group_size)
    return tuple(str(path) for path in paths)


def options(files: tuple[str, ...], log: Path, **changes: Any) -> ReplayOptions:
    """Options for a small log: windows of 100 ms, mini-batches of 16 rows."""
    values: dict[str, Any] = {"window_ms": LENGTH, "batch_rows": 16, "chunk_rows": 32}
    return ReplayOptions(files=files, spec=SPEC, log=log, **{**values, **changes})


def windows(log: Path) -> list[tuple[int, list[tuple[int, int, str]], bool]]:
    """Of each commit what is equal in all runs: window end, batches, whether it is the last."""
    return [
        (c.window_end, [(b.index, b.rows, b.digest) for b in c.batches], c.end)
        for _, c in FolderLog.open(log).commits(0)
    ]


def batch_files(log: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (log / "batches").iterdir()}


def letters(log: Path) -> list[dict[str, Any]]:
    """All dead letters by position."""
    found = [
        json.loads(line)
        for path in (log / "dead_letters").iterdir()
        for line in path.read_text().splitlines()
    ]
    return sorted(found, key=lambda letter: (letter["partition"], letter["offset"]))


def rows(log: Path) -> list[tuple[int, int, int]]:
    """(event time, partition, offset) of every row, in the order of the log."""
    folder = FolderLog.open(log)
    found: list[tuple[int, int, int]] = []
    for _, commit in folder.commits(0):
        for ref in commit.batches:
            batch = folder.read_arrow(BatchName(commit.window_end, 0, ref.index), ref)
            columns = [batch.column(n).to_pylist() for n in (EVENT_TIME, PARTITION, OFFSET)]
            found += zip(*columns, strict=True)
    return found


NO_JUMP = 10**14


def expected_refusals(
    tables: list[pa.Table], slack: int, max_jump: int = NO_JUMP
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """(partition, offset) of the late rows and of those that jump, by the definition, in turn."""
    late, jumped = set(), set()
    for partition, table in enumerate(tables):
        greatest = None
        for offset, time in enumerate(table["time"].to_pylist()):
            if greatest is not None and time > greatest + slack + max_jump:
                jumped.add((partition, offset))
                continue
            if greatest is not None and greatest - slack >= (time // LENGTH + 1) * LENGTH:
                late.add((partition, offset))
            greatest = time if greatest is None else max(greatest, time)
    return late, jumped


def expected_late(tables: list[pa.Table], slack: int) -> set[tuple[int, int]]:
    """(partition, offset) of the late rows where nothing jumps."""
    return expected_refusals(tables, slack)[0]
