from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from clicks import (
    LENGTH,
    NO_JUMP,
    SPEC,
    batch_files,
    clicks,
    expected_late,
    letters,
    options,
    random_times,
    rows,
    windows,
    write,
)  # fmt: skip

from beam_jobs.replay import Progress, plan, replay
from beam_jobs.window_buffer import WindowBuffer
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.folder_log import FolderLog


@pytest.fixture(scope="module")
def tables() -> list[pa.Table]:
    made = [clicks(random_times(n, seed)) for n, seed in ((230, 1), (150, 2), (20, 3))]
    labels = made[0]["click"].to_pylist()
    labels[7], labels[100], labels[101] = 5, 3, None
    times = made[1]["time"].to_pylist()
    times[20] = None
    return [clicks(made[0]["time"].to_pylist(), click=labels), clicks(times), made[2]]


BAD = [(0, 7), (0, 100), (1, 20)]


def _without_bad(tables: list[pa.Table]) -> list[pa.Table]:
    """A bad row does not move its partition's clock; it gets the time of the row before."""
    result = []
    for p, table in enumerate(tables):
        times = table["time"].to_pylist()
        for offset in (o for q, o in BAD if q == p):
            times[offset] = times[offset - 1]
        result.append(clicks(times))
    return result


def test_every_row_is_in_exactly_one_window_or_a_dead_letter_and_the_counts_add_up(
    tmp_path: Path, tables
) -> None:
    files = write(tmp_path / "in", *tables)
    late = expected_late(_without_bad(tables), 60) - set(BAD)
    seen: list[Progress] = []
    done = replay(
        options(files, tmp_path / "log", out_of_orderness_ms=60, epoch_rows=70), seen.append
    )
    assert late
    assert done.rows == sum(t.num_rows for t in tables)
    assert (done.invalid, done.late, done.undecodable) == (3, len(late), 0)
    assert done.good == done.rows - 3 - len(late)
    assert done.unlabelled == 1
    found = rows(tmp_path / "log")
    assert found == sorted(found)
    kept = {(p, o) for _, p, o in found}
    assert len(kept) == len(found) == done.good
    dead = {(x["partition"], x["offset"]): x for x in letters(tmp_path / "log")}
    assert kept | set(dead) == {(p, o) for p, t in enumerate(tables) for o in range(t.num_rows)}
    assert {k for k, x in dead.items() if x["kind"] == "late"} == late
    assert dead[0, 7] == {
        "source": files[0], "partition": 0, "offset": 7, "row": 8, "kind": "invalid",
        "reason": "column 'click': 5: a label is 0, 1 or null",
        "record": {"time": tables[0]["time"][7].as_py(), "click": 5, "price": 7.0, "user": "u0",
                   "item": 7},
    }  # fmt: skip
    assert seen[-1].rows == seen[-1].total == done.rows
    assert [p.windows for p in seen] == sorted(p.windows for p in seen)
    commits = [c for _, c in FolderLog.open(tmp_path / "log").commits(0)]
    assert [c.end for c in commits] == [False] * (len(commits) - 1) + [True]
    ends = [c.window_end for c in commits]
    assert ends == list(range(ends[0], ends[-1] + 1, LENGTH))
    assert done.windows == len(commits)
    assert str(done).startswith("400 rows = ")


@pytest.mark.parametrize(("epoch_rows", "chunk_rows"), [(1000, 1000), (37, 5), (90, 64)])
def test_windows_and_letters_do_not_depend_on_the_size_of_epochs_and_chunks(
    tmp_path: Path, tables, epoch_rows, chunk_rows
) -> None:
    files = write(tmp_path / "in", *tables)
    for name, sizes in (("a", {}), ("b", {"epoch_rows": epoch_rows, "chunk_rows": chunk_rows})):
        replay(options(files, tmp_path / name, out_of_orderness_ms=60, **sizes))
    assert windows(tmp_path / "a") == windows(tmp_path / "b")
    assert batch_files(tmp_path / "a") == batch_files(tmp_path / "b")
    assert letters(tmp_path / "a") == letters(tmp_path / "b")


def test_csv_and_parquet_of_the_same_events_give_the_same_log(tmp_path: Path) -> None:
    times = random_times(300, 5)
    table = clicks(
        [f"2013-01-01T00:{t // 60000:02}:{t // 1000 % 60:02}.{t % 1000:03}Z" for t in times],
        item=[None if i % 50 == 0 else i % 9 for i in range(300)],
    )
    parquet = write(tmp_path / "in", table)
    pyarrow.csv.write_csv(table, tmp_path / "in.csv")
    start = 1_356_998_400_000  # 2013-01-01
    milliseconds = table.set_column(0, "time", pa.array([start + t for t in times]))
    pyarrow.csv.write_csv(milliseconds, tmp_path / "ms.csv")
    csv, ms = (str(tmp_path / "in.csv"),), (str(tmp_path / "ms.csv"),)
    for name, files in (("a", parquet), ("b", csv), ("c", ms)):
        replay(options(files, tmp_path / name, epoch_rows=70, out_of_orderness_ms=200))
    assert windows(tmp_path / "a") == windows(tmp_path / "b") == windows(tmp_path / "c")
    assert len(rows(tmp_path / "b")) == 300


def test_replaying_a_log_that_has_ended_changes_nothing_and_counts_the_same(
    tmp_path: Path, tables
) -> None:
    files = write(tmp_path / "in", *tables)
    first = replay(options(files, tmp_path / "log"))
    before = windows(tmp_path / "log")
    assert replay(options(files, tmp_path / "log")) == first
    assert windows(tmp_path / "log") == before


def test_a_log_without_a_good_row_ends_with_an_empty_window(tmp_path: Path) -> None:
    files = write(tmp_path / "in", clicks([1, 2], click=[7, 8]))
    done = replay(options(files, tmp_path / "log", max_bad_share=1.0))
    assert (done.rows, done.invalid, done.good, done.windows) == (2, 2, 0, 1)
    assert windows(tmp_path / "log") == [(LENGTH, [], True)]


def test_files_that_follow_one_another_are_not_all_held_in_memory(tmp_path: Path) -> None:
    days = [clicks(list(range(day * 10_000, day * 10_000 + 9_000, 50))) for day in range(5)]
    files = write(tmp_path / "in", *days)
    given = options(files, tmp_path / "log", epoch_rows=60, chunk_rows=10)
    buffer = WindowBuffer(LENGTH, 0, range(5), NO_JUMP)
    assert [(r.partition, r.rows) for r in plan(buffer, given)] == [(i, 10) for i in range(5)]
    for i, partition in buffer.partitions.items():
        partition.greatest, partition.offset = i * 10_000, 10
    assert {r.partition for r in plan(buffer, given)} == {0}
    assert sum(r.rows for r in plan(buffer, given)) == 60
    windows_seen: list[int] = []
    replay(given, lambda p: windows_seen.append(p.windows))
    assert windows_seen[len(windows_seen) // 2] > 100


def test_many_files_share_an_epoch_that_has_fewer_rows_than_files(tmp_path: Path) -> None:
    files = write(tmp_path / "in", *(clicks([i, i + 1, i + 2]) for i in range(8)))
    assert replay(options(files, tmp_path / "log", epoch_rows=3)).good == 24


def test_multi_valued_categories_and_an_event_key_reach_the_log(tmp_path: Path) -> None:
    values = {**SPEC.to_dict(), "event_key": "key"}
    values["categorical"] = ["user", {"name": "tags", "multi": True}]
    spec = FeatureSpec.from_dict(values)
    tags = [["a", "b"], None, [], ["c"]] * 10
    table = clicks(list(range(40)), tags=tags, key=[f"k{i}" for i in range(40)])
    files = write(tmp_path / "in", table)
    given = replace(options(files, tmp_path / "log", batch_rows=64), spec=spec)
    assert replay(given).good == 40
    log = FolderLog.open(tmp_path / "log")
    ((_, commit),) = log.commits(0)
    batch = log.read_arrow(BatchName(LENGTH, 0, 0), commit.batches[0])
    assert [len(row) for row in batch["tags"].to_pylist()] == [2, 0, 0, 1] * 10
    assert len(set(batch["__event_key"].to_pylist())) == 40
