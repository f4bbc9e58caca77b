from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from clicks import LENGTH, NO_JUMP, SPEC, clicks, expected_refusals
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.closed_window import ClosedWindow
from beam_jobs.decode import Decoded
from beam_jobs.validate import validate
from beam_jobs.window_buffer import WindowBuffer
from beam_jobs.windows import Windowed, assign, cut, merge, window_ends
from stream_prune.errors import RunError
from stream_prune.features import EVENT_TIME, OFFSET, PARTITION
from stream_prune.minibatch.commit import Commit

SLACK, MAX_JUMP = 30, 250
TIMES = st.lists(st.integers(0, 900), max_size=25)
WILD = st.lists(st.integers(0, 400) | st.integers(0, 3000), max_size=25)


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


Positions = list[tuple[int, int]]


def run(
    tables: list[pa.Table], seed: int, max_jump: int
) -> tuple[list[tuple[int, list[Any], bool]], Positions, Positions]:
    """Feeds the tables in random chunks and turns, with restarts.

    Returns the windows, and the late rows and those that jumped which a commit covers.
    """
    rng = np.random.default_rng(seed)

    def start(last: Commit | None) -> WindowBuffer:
        return WindowBuffer(LENGTH, SLACK, range(len(tables)), max_jump, last)

    buffer = start(None)
    windows: list[tuple[int, list[Any], bool]] = []
    late: Positions = []
    jumped: Positions = []
    waiting: tuple[Positions, Positions] = ([], [])
    last: Commit | None = None
    stops = int(rng.integers(0, 4))
    while not buffer.ended:
        running = [i for i, p in buffer.partitions.items() if not p.ended]
        i = int(rng.choice(running))
        offset = buffer.partitions[i].offset
        size = int(rng.integers(0, 12))
        ends = offset + size >= len(tables[i])
        refused = buffer.add(chunk(i, offset, tables[i].slice(offset, size), ends))
        for kept, offsets in zip(waiting, (refused.late, refused.jumped), strict=True):
            kept += [(i, found) for found in offsets.tolist()]
        for window in buffer.close():
            last = commit_of(window)
            windows.append((window.window_end, position(window.rows), window.end))
            late, jumped, waiting = late + waiting[0], jumped + waiting[1], ([], [])
            if stops and rng.random() < 0.3:
                stops -= 1
                break
        else:
            if not (stops and rng.random() < 0.3):
                continue
            stops -= 1
        if last is None or not last.end:
            buffer, waiting = start(last), ([], [])
    return windows, late, jumped


def check_against_the_definition(seed: int, times: list[list[int]], max_jump: int) -> None:
    tables = [clicks(t).cast(clicks([1]).schema) for t in times]
    windows, late, jumped = run(tables, seed, max_jump)
    expected = expected_refusals(tables, SLACK, max_jump)
    assert (len(late), len(jumped)) == (len(set(late)), len(set(jumped)))
    assert (set(late), set(jumped)) == expected
    good = sorted(
        (time, p, o)
        for p, table in enumerate(tables)
        for o, time in enumerate(table["time"].to_pylist())
        if (p, o) not in expected[0] | expected[1]
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


@given(st.integers(0, 2**32), st.lists(TIMES, min_size=1, max_size=3))
def test_windows_and_late_rows_depend_neither_on_interleaving_nor_on_restarts(seed, times) -> None:
    check_against_the_definition(seed, times, NO_JUMP)


@given(st.integers(0, 2**32), st.lists(WILD, min_size=1, max_size=3))
def test_rows_that_jump_depend_neither_on_interleaving_nor_on_restarts(seed, times) -> None:
    check_against_the_definition(seed, times, MAX_JUMP)


def test_a_row_far_ahead_of_those_before_it_is_refused_and_moves_no_clock() -> None:
    buffer = WindowBuffer(LENGTH, SLACK, range(2), MAX_JUMP)
    times = [10, 20, 10**13, 301, 300, 110]
    refused = buffer.add(chunk(0, 0, clicks(times), True))
    assert refused.jumped.tolist() == [2, 3]
    assert refused.by_ms.tolist() == [10**13 - 20, 281]
    assert refused.late.tolist() == [5]
    other = buffer.add(chunk(1, 0, clicks([5_000]), True))  # no row of its own came before it
    assert len(other.jumped) == 0
    assert [w.window_end for w in buffer.close() if w.rows is not None] == [100, 400, 5100]


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
    buffer = WindowBuffer(LENGTH, SLACK, range(2), NO_JUMP)
    assert buffer.add(chunk(1, 0, clicks([10]), False)).late.tolist() == []
    assert buffer.add(chunk(0, 0, clicks([50, 129, 60, 130, 70]), False)).late.tolist() == [4]
    assert list(buffer.close()) == []
    assert buffer.add(chunk(1, 1, clicks([90, 130]), False)).late.tolist() == []
    (window,) = buffer.close()
    assert position(window.rows) == [(10, 1, 0), (50, 0, 0), (60, 0, 2), (90, 1, 1)]
    assert window.closed_at == {"0": 5, "1": 3}
    assert window.resume == {"0": 0, "1": 1}
    assert window.watermark == {"1": -20}


def test_a_partition_that_has_ended_no_longer_holds_windows_open() -> None:
    buffer = WindowBuffer(LENGTH, 0, range(2), NO_JUMP)
    buffer.add(chunk(0, 0, clicks([10]), True))
    buffer.add(chunk(1, 0, clicks([20, 300]), False))
    assert [w.window_end for w in buffer.close()] == [100, 200, 300]


def test_a_chunk_that_leaves_a_gap_is_refused() -> None:
    buffer = WindowBuffer(LENGTH, 0, range(1), NO_JUMP)
    buffer.add(chunk(0, 0, clicks([10, 20]), False))
    with pytest.raises(ValueError, match=r"partition 0: rows \[2, 5\) are missing"):
        buffer.add(chunk(0, 5, clicks([30]), False))


def test_files_that_lie_far_apart_stop_the_job_instead_of_filling_the_log() -> None:
    buffer = WindowBuffer(LENGTH, 0, range(2), MAX_JUMP)
    buffer.add(chunk(0, 0, clicks([10]), True))
    buffer.add(chunk(1, 0, clicks([4_000_000_000_000]), True))
    with pytest.raises(RunError, match=r"between 1970-01-01T00:00 and 2096-10-02T.*windows.length"):
        list(buffer.close())
