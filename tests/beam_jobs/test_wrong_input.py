from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
from clicks import LENGTH, SPEC, batch_files, clicks, letters, options, windows, write

from beam_jobs.options import CsvFormat, ReplayOptions
from beam_jobs.replay import replay
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_ms": 0}, r"^windows\.length = 0 ms: must be 1 ms or more$"),
        ({"out_of_orderness_ms": -1}, r"^windows\.out_of_orderness = -1 ms: must be 0 ms or more$"),
        ({"max_jump_ms": 0}, r"^windows\.max_jump = 0 ms: must be 1 ms or more$"),
        ({"batch_rows": 0}, r"^windows\.batch_rows = 0: must be 1 or more$"),
        ({"epoch_rows": 0}, r"^epoch_rows = 0: must be 1 or more$"),
        ({"max_bad_share": 1.5}, r"^max_bad_share = 1\.5: must be in \[0, 1\]$"),
        (
            {"format": "json"},
            r"^source\.format = 'json': must be one of auto, parquet, csv, avro, jsonl$",
        ),
        ({"files": ()}, r"^source\.files = \[\]: must name at least one"),
    ],
)
def test_options_out_of_range_are_refused_with_what_is_allowed(change, message) -> None:
    values = {"files": ("x",), "spec": SPEC, "log": Path("log"), "window_ms": LENGTH}
    with pytest.raises(ConfigError, match=message):
        ReplayOptions(**{**values, **change})


def test_a_delimiter_must_be_one_character() -> None:
    with pytest.raises(ConfigError, match=r"source\.delimiter = ';;': must be one character"):
        CsvFormat(delimiter=";;")


def test_a_file_that_does_not_exist_and_a_folder_without_logs_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for missing in (str(tmp_path / "no-*.parquet"), str(tmp_path / "empty")):
        with pytest.raises(ConfigError, match=r"source\.files: '.*(no-\*|empty).*: there is no"):
            replay(options((missing,), tmp_path / "log"))
    assert not (tmp_path / "log").exists()


def test_an_unknown_suffix_asks_for_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("time\n1\n")
    with pytest.raises(ConfigError, match=r"suffixes \.log: .* say source\.format"):
        replay(options((str(tmp_path / "a.log"),), tmp_path / "log"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.parquet", b"", r"a\.parquet: is empty \(0 bytes\)"),
        ("a.parquet", b"PAR1 nonsense", r"a\.parquet: cannot be read as Parquet"),
        ("a.csv", b"", r"a\.csv: is empty: a CSV file begins with"),
        ("a.csv", b"time,click,price,user,item\n", r"source\.files: no rows in .*a\.csv"),
        ("a.csv", b"\xff\xfe\n1", r"a\.csv: cannot be read as CSV: the first line"),
    ],
)
def test_an_unreadable_or_empty_file_is_named(tmp_path: Path, name, data, message) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RunError, match=message):
        replay(options((str(tmp_path / name),), tmp_path / "log"))


def test_a_file_that_is_damaged_in_the_middle_is_named_with_the_row(tmp_path: Path) -> None:
    (path,) = write(tmp_path, clicks(list(range(2000))), row_group_size=1000)
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = b"\0" * 4000
    Path(path).write_bytes(data)
    with pytest.raises(RunError, match=r"part-0\.parquet: cannot be read at row 1001: Corrupt"):
        replay(options((path,), tmp_path / "log", chunk_rows=100))


def test_a_missing_column_and_a_wrong_type_are_named_with_the_file(tmp_path: Path) -> None:
    files = write(tmp_path, clicks([1, 2]), clicks([1, 2]).drop_columns(["user"]))
    with pytest.raises(ConfigError, match=r"part-1\.parquet: column 'user' is missing; there are"):
        replay(options(files, tmp_path / "log"))
    files = write(tmp_path, clicks([1, 2], item=[0.5, 1.5]))
    with pytest.raises(ConfigError, match=r"part-0\.parquet: column 'item' .*double"):
        replay(options(files, tmp_path / "log"))
    files = write(tmp_path, clicks([1, 2]), clicks([1, 2], item=["a", "b"]))
    with pytest.raises(ConfigError, match=r"part-1\.parquet: column 'item' has the type string"):
        replay(options(files, tmp_path / "log"))


def test_too_many_bad_rows_stop_the_job_with_counts_reasons_and_the_place(tmp_path: Path) -> None:
    labels = [9 if i % 50 == 3 else 1 for i in range(3000)]
    table = clicks(list(range(0, 30_000, 10)), click=labels)
    files = write(tmp_path / "in", table)
    with pytest.raises(RunError) as error:
        replay(options(files, tmp_path / "log", epoch_rows=500))
    for part in (
        "20 of 1,000 rows cannot be used (20 invalid, 0 undecodable)",
        "max_bad_share = 0.01",
        "part-0.parquet: row 4: column 'click': 9: a label is 0, 1 or null",
        str(tmp_path / "log" / "dead_letters"),
    ):
        assert part in str(error.value)
    assert [x["row"] for x in letters(tmp_path / "log")] == list(range(4, 1000, 50))
    done = replay(options(files, tmp_path / "log", epoch_rows=500, max_bad_share=0.03))
    assert (done.good, done.invalid) == (2940, 60)
    assert [x["row"] for x in letters(tmp_path / "log")] == list(range(4, 3000, 50))


def test_a_short_log_is_checked_at_its_end(tmp_path: Path) -> None:
    files = write(tmp_path / "in", clicks([1, 2, 3], click=[1, 9, 1]))
    with pytest.raises(RunError, match=r"1 of 3 rows cannot be used"):
        replay(options(files, tmp_path / "log"))


def test_bad_timestamps_and_ragged_lines_are_dead_letters_with_row_and_reason(
    tmp_path: Path,
) -> None:
    lines = [f"2013-01-01T00:00:{i:02}Z,1,2.5,u,i" for i in range(60)]
    lines[4] = "2013-13-01T00:00:00Z,1,2.5,u,i"
    lines[9] = "2013-01-01T00:00:00Z,1,2.5"
    lines[11] = "2013-01-01T00:00:11Z,1,cheap,u,i"
    (tmp_path / "a.csv").write_text("time,click,price,user,item\n" + "\n".join(lines) + "\n")
    given = options((str(tmp_path / "a.csv"),), tmp_path / "log", max_bad_share=0.1)
    done = replay(given)
    assert (done.good, done.invalid, done.undecodable) == (57, 2, 1)
    found = [(x["row"], x["kind"], x["reason"]) for x in letters(tmp_path / "log")]
    assert [(row, kind) for row, kind, _ in found] == [
        (5, "invalid"), (10, "undecodable"), (12, "invalid"),
    ]  # fmt: skip
    assert found[0][2].startswith("column 'time': '2013-13-01T00:00:00Z': is no event time")
    assert found[1][2] == "has 3 values, the header has 5"
    assert found[2][2].startswith("column 'price': 'cheap': is no number")
    assert letters(tmp_path / "log")[1]["record"] == lines[9]


def test_one_wild_event_time_is_a_dead_letter_and_disturbs_no_other_row(tmp_path: Path) -> None:
    times = [f"2013-01-01T{i % 24:02}:00Z" for i in range(24)]
    lines = [f"{time},1,2.5,u,i" for time in times]
    lines[7] = "9000-01-01T00:00Z,1,2.5,u,i"
    (tmp_path / "a.csv").write_text("time,click,price,user,item\n" + "\n".join(lines) + "\n")
    given = options(
        (str(tmp_path / "a.csv"),), tmp_path / "log", window_ms=3_600_000, max_bad_share=0.1
    )
    done = replay(given)
    assert (done.good, done.invalid, done.late, done.windows) == (23, 1, 0, 24)
    (letter,) = letters(tmp_path / "log")
    assert (letter["row"], letter["kind"]) == (8, "invalid")
    assert letter["reason"] == (
        "column 'time': the event time is 2,551,949 days after the rows before it in this file: "
        "windows.max_jump allows 30 days"
    )


def test_a_pause_longer_than_max_jump_stops_the_job_and_names_the_bound(tmp_path: Path) -> None:
    day = 86_400_000
    start = 16_000 * day  # in 2013
    times = [start, start + 1, start + 40 * day, start + 41 * day]
    files = write(tmp_path / "in", clicks(times))
    with pytest.raises(
        RunError, match=r"row 3: .*40 days after .*windows\.max_jump allows 30 days"
    ):
        replay(options(files, tmp_path / "log", window_ms=day))
    done = replay(options(files, tmp_path / "other", window_ms=day, max_jump_ms=50 * day))
    assert (done.good, done.windows) == (4, 42)


def test_a_log_of_another_schema_or_of_other_files_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path / "in", clicks(list(range(0, 500, 10))))
    replay(options(files, tmp_path / "log"))
    before = windows(tmp_path / "log")
    spec = FeatureSpec.from_dict({**SPEC.to_dict(), "categorical": ["user"]})
    other = ReplayOptions(files, spec, tmp_path / "log", window_ms=LENGTH, batch_rows=16)
    with pytest.raises(ConfigError, match=r"log: .*categorical"):
        replay(other)
    with pytest.raises(ConfigError, match=r"window_ms"):
        replay(options(files, tmp_path / "log", window_ms=LENGTH * 2))
    with pytest.raises(ConfigError, match=r"source: .*out_of_orderness_ms is 0 in the log, 5"):
        replay(options(files, tmp_path / "log", out_of_orderness_ms=5))
    more = write(tmp_path / "in", clicks(list(range(0, 500, 10))), clicks([1]))
    with pytest.raises(ConfigError, match=r"source: the log was written from other files"):
        replay(options(more, tmp_path / "log"))
    assert windows(tmp_path / "log") == before


@pytest.mark.parametrize("after", [3, 40, 90])
def test_a_full_disk_stops_the_job_and_more_space_lets_it_go_on(
    tmp_path: Path, monkeypatch, after
) -> None:
    files = write(tmp_path / "in", clicks(list(range(0, 4000, 10))))
    replay(options(files, tmp_path / "whole"))
    synced, left = os.fsync, [after]

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(RunError, match=r".+: No space left on device"):
            replay(options(files, tmp_path / "log", epoch_rows=50))
    replay(options(files, tmp_path / "log", epoch_rows=50))
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    assert batch_files(tmp_path / "log") == batch_files(tmp_path / "whole")


def test_a_table_with_every_column_as_arrow_null_is_all_bad_rows(tmp_path: Path) -> None:
    table = clicks([1, 2]).set_column(0, "time", pa.array([None, None], pa.int64()))
    files = write(tmp_path / "in", table)
    with pytest.raises(RunError, match=r"2 of 2 rows cannot be used.*is no event time"):
        replay(options(files, tmp_path / "log"))
