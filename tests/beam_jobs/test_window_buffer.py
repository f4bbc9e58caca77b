from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from clicks import LENGTH, SPEC, clicks, expected_late
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.decode import Decoded
from beam_jobs.validate import validate
from beam_jobs.window_buffer import ClosedWindow, WindowBuffer
from beam_jobs.windows import Windowed, assign, cut, merge, window_ends
from stream_prune.errors import RunError
from stream_prune.features import EVENT_TIME, OFFSET, PARTITION
from stream_prune.minibatch.commit import Commit

SLACK = 30
TIMES = st.lists(st.integers(0, 900), max_size=25)


def chunk(partition: int, start: int, table: pa.Table, ends: bool) -> Windowed:
    batches = table.combine_chunks().to_batches()
    rows = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    stop = start + table.num_rows
    decoded = Decoded(partition, start, stop, ends, rows, np.arange(start, stop))
    valid, letters = validate(SPEC, decoded)
    assert not letters
    return assign(valid, LENGTH)


def position(rows: pa.RecordBatch | None) -> list[tuple[int, int, int]]:
    if rows is None:
        return []
    columns = [rows.column(n).to_pylist() for n in (EVENT_TIME, PARTITION, OFFSET)]
    return list(zip(*columns, strict=True))


def commit_of(window: ClosedWindow) -> Commit:
    return Commit(
        window.window_end, 0, 1, "f", closed_at=window.closed_at, resume=window.resume,
        watermark=window.watermark, end=window.end,
    )  # fmt: skip


def run(
    tables: list[pa.Table], seed: int
) -> tuple[list[tuple[int, list[Any], bool]], list[tuple[int, int]]]:
    """Feeds the tables in random chunks and turns, with restarts; returns windows and late rows."""
    rng = np.random.default_rng(seed)
    buffer = WindowBuffer(LENGTH, SLACK, len(tables))
    windows: list[tuple[int, list[Any], bool]] = []
    kept: list[tuple[int, int]] = []  # late rows that a commit covers
    waiting: list[tuple[int, int]] = []
    last: Commit | None = None
    stops = int(rng.integers(0, 4))
    while not buffer.ended:
        running = [i for i, p in enumerate(buffer.partitions) if not p.ended]
        i = int(rng.choice(running))
        start = buffer.partitions[i].offset
        size = int(rng.integers(0, 12))
        ends = start + size >= len(tables[i])
        late = buffer.add(chunk(i, start, tables[i].slice(start, size), ends))
        waiting += [(i, offset) for offset in late.tolist()]
        for window in buffer.close():
            last = commit_of(window)
            windows.append((window.window_end, position(window.rows), window.end))
            kept, waiting = kept + waiting, []
            if stops and rng.random() < 0.3:
                stops -= 1
                break
        else:
            if not (stops and rng.random() < 0.3):
                continue
            stops -= 1
        if last is None or not last.end:
            buffer, waiting = WindowBuffer(LENGTH, SLACK, len(tables), last), []
    return windows, kept


@given(st.integers(0, 2**32), st.lists(TIMES, min_size=1, max_size=3))
def test_windows_and_late_rows_depend_neither_on_interleaving_nor_on_restarts(seed, times) -> None:
    tables = [clicks(t).cast(clicks([1]).schema) for t in times]
    windows, late = run(tables, seed)
    expected = expected_late(tables, SLACK)
    assert len(late) == len(set(late))
    assert set(late) == expected
    good = sorted(
        (time, p, o)
        for p, table in enumerate(tables)
        for o, time in enumerate(table["time"].to_pylist())
        if (p, o) not in expected
    )
    assert [row for _, rows, _ in windows for row in rows] == good
    for end, rows, _ in windows:
        assert all(end - LENGTH <= time < end for time, _, _ in rows)
    ends = [end for end, _, _ in windows]
    assert ends == list(range(ends[0], ends[-1] + 1, LENGTH))
    assert [last for _, _, last in windows] == [False] * (len(windows) - 1) + [True]
    if good:
        assert windows[0][1]
        assert windows[-1][1]


@given(TIMES.filter(bool), st.integers(1, 9))
def test_cutting_goes_by_count_only_and_keeps_the_order(times, size) -> None:
    piece = assign(validate(SPEC, _decoded(clicks(times)))[0], 1000).pieces[0]
    parts = cut(merge([piece.rows]), size)
    assert [p.num_rows for p in parts[:-1]] == [size] * (len(parts) - 1)
    assert 1 <= parts[-1].num_rows <= size
    assert [r for p in parts for r in position(p)] == sorted(position(piece.rows))


def _decoded(table: pa.Table) -> Decoded:
    rows = table.combine_chunks().to_batches()[0]
    return Decoded(0, 0, len(rows), True, rows, np.arange(len(rows)))


def test_an_event_at_the_end_of_a_window_belongs_to_the_next_one() -> None:
    assert window_ends(np.array([99, 100, 199]), 100).tolist() == [100, 200, 200]


def test_a_row_is_late_by_its_own_partition_even_while_another_holds_the_window_open() -> None:
    buffer = WindowBuffer(LENGTH, SLACK, 2)
    assert buffer.add(chunk(1, 0, clicks([10]), False)).tolist() == []
    assert buffer.add(chunk(0, 0, clicks([50, 129, 60, 130, 70]), False)).tolist() == [4]
    assert list(buffer.close()) == []
    assert buffer.add(chunk(1, 1, clicks([90, 130]), False)).tolist() == []
    (window,) = buffer.close()
    assert position(window.rows) == [(10, 1, 0), (50, 0, 0), (60, 0, 2), (90, 1, 1)]
    assert window.closed_at == {"0": 5, "1": 3}
    assert window.resume == {"0": 0, "1": 1}
    assert window.watermark == {"1": -20}


def test_a_partition_that_has_ended_no_longer_holds_windows_open() -> None:
    buffer = WindowBuffer(LENGTH, 0, 2)
    buffer.add(chunk(0, 0, clicks([10]), True))
    buffer.add(chunk(1, 0, clicks([20, 300]), False))
    assert [w.window_end for w in buffer.close()] == [100, 200, 300]


def test_a_chunk_that_leaves_a_gap_is_refused() -> None:
    buffer = WindowBuffer(LENGTH, 0, 1)
    buffer.add(chunk(0, 0, clicks([10, 20]), False))
    with pytest.raises(ValueError, match=r"partition 0: rows \[2, 5\) are missing"):
        buffer.add(chunk(0, 5, clicks([30]), False))


def test_a_single_event_time_far_off_stops_the_job_instead_of_filling_the_log() -> None:
    buffer = WindowBuffer(LENGTH, 0, 1)
    buffer.add(chunk(0, 0, clicks([10, 4_000_000_000_000]), True))
    with pytest.raises(RunError, match=r"between 1970-01-01T00:00 and 2096-10-02T.*windows.length"):
        list(buffer.close())
