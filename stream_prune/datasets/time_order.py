"""Events in the order of time, of a log that is in another one and too large for memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ROWS = 1_000_000
"""Rows that are sorted at once, unless more of them lie in one step of time."""

STEP_MS = 3_600_000


def in_time_order(
    tables: Callable[[], Iterator[pa.Table]],
    column: str,
    folder: Path,
    *,
    rows: int = ROWS,
    step_ms: int = STEP_MS,
) -> Iterator[pa.Table]:
    """The rows of a log by time, ties as they came.

    The log is read twice: once to count its events per step of time, once to deal them out to
    files, each of a stretch of time with about ``rows`` events, which are then sorted one by one.
    So memory is a matter of ``rows``, and the disk holds the log once more for as long as it takes.

    Args:
        tables: reads the log; called twice, and both times gives the same.
        column: event times, timestamps in ms.
        folder: where the files lie meanwhile.
        rows: see above.
        step_ms: width of a step; the counts are held in memory.
    """
    ends = _ends(tables(), column, rows, step_ms)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sort-") as inside:
        parts = [Path(inside) / f"{number}.arrow" for number in range(len(ends))]
        _deal(tables(), column, ends, parts)
        for part in parts:
            with pa.memory_map(str(part)) as source:
                stretch = pa.ipc.open_stream(source).read_all()
            order = np.argsort(_milliseconds(stretch[column]), kind="stable")
            yield stretch.take(order).combine_chunks()
            part.unlink()


def _ends(
    tables: Iterator[pa.Table], column: str, rows: int, step_ms: int
) -> npt.NDArray[np.int64]:
    """Where each stretch of time ends (ms, exclusive)."""
    counts: dict[int, int] = {}
    for table in tables:
        steps, found = np.unique(_milliseconds(table[column]) // step_ms, return_counts=True)
        for step, count in zip(steps.tolist(), found.tolist(), strict=True):
            counts[step] = counts.get(step, 0) + count
    ends, held = list[int](), 0
    for step in sorted(counts):
        if held and held + counts[step] > rows:
            ends.append(step * step_ms)
            held = 0
        held += counts[step]
    if held:
        ends.append((max(counts) + 1) * step_ms)
    return np.array(ends, np.int64)


def _deal(
    tables: Iterator[pa.Table], column: str, ends: npt.NDArray[np.int64], parts: list[Path]
) -> None:
    writers: dict[int, pa.RecordBatchStreamWriter] = {}
    with ExitStack() as open_files:
        for table in tables:
            stretch = np.searchsorted(ends, _milliseconds(table[column]), side="right")
            for number in np.unique(stretch).tolist():
                if number not in writers:
                    writers[number] = open_files.enter_context(
                        pa.ipc.new_stream(str(parts[number]), table.schema)
                    )
                writers[number].write_table(table.filter(pa.array(stretch == number)))


def _milliseconds(times: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = (
        pc.cast(times, pa.timestamp("ms", tz="UTC")).cast(pa.int64()).to_numpy()
    )
    return found
