from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from clicks import LENGTH, SPEC, clicks, write

from beam_jobs.columnar_coder import ColumnarCoder
from beam_jobs.csv_file import CsvLines
from beam_jobs.decode import Decode, Decoded, Formats
from beam_jobs.epochs import MicroEpochs
from beam_jobs.log_source import Chunk, FileSource, Range, ReadLog
from beam_jobs.validate import Validate, validate
from beam_jobs.windows import AssignWindows, assign
from stream_prune.features import LABEL, hash_strings


def check(expected: list[Any], of: Callable[[Any], Any]) -> Callable[[Any], None]:
    def matches(found: list[Any]) -> None:
        assert sorted(map(of, found)) == expected

    return matches


@pytest.fixture
def pipeline():
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        yield pipeline


def decoded(table: pa.Table, partition: int = 0, start: int = 0) -> Decoded:
    rows = table.combine_chunks().to_batches()[0]
    stop = start + table.num_rows
    return Decoded(partition, start, stop, False, rows, np.arange(start, stop))


def test_reading_gives_the_rows_of_each_range_and_names_a_file_that_has_gone(
    tmp_path: Path, pipeline
) -> None:
    (path,) = write(tmp_path, clicks(list(range(100))), row_group_size=30)
    source = FileSource((Path(path), tmp_path / "gone.parquet"))
    ranges = [Range(0, 20, 30), Range(0, 90, 30), Range(0, 120, 30), Range(1, 0, 5)]
    read = pipeline | beam.Create(ranges, reshuffle=False) | ReadLog(source)
    assert_that(
        read.chunks,
        check(
            [(20, 50, False, list(range(20, 50))), (90, 100, True, list(range(90, 100)))],
            lambda c: (c.start, c.stop, c.ends, c.data["item"].to_pylist()),
        ),
        "chunks",
    )
    gone = f"{tmp_path / 'gone.parquet'}: cannot be read: No such file or directory"
    assert_that(read.unreadable, check([gone], str), "unreadable")


def test_decoding_gives_rows_with_their_offsets_and_ragged_lines_as_letters(pipeline) -> None:
    lines = CsvLines(("a", "b"), (b"1,2\n", b"3\n", b"4,5\n"))
    chunks = pipeline | beam.Create([Chunk(3, 10, 13, True, lines)], reshuffle=False)
    found = chunks | Decode(SPEC, Formats())
    assert_that(
        found.decoded,
        check([([10, 12], ["1", "4"])], lambda d: (d.offsets.tolist(), d.rows["a"].to_pylist())),
        "decoded",
    )
    assert_that(
        found.undecodable,
        check(
            [(3, 11, "has 1 values, the header has 2", "3")],
            lambda x: (x.partition, x.offset, x.reason, x.record),
        ),
        "undecodable",
    )


def test_validation_encodes_good_rows_and_says_why_others_are_not(pipeline) -> None:
    table = clicks([5, 6, 7], click=[1, 2, None])
    found = pipeline | beam.Create([decoded(table, 1, 40)], reshuffle=False) | Validate(SPEC)
    users = hash_strings(pa.array(["u0", "u2"])).tolist()
    assert_that(
        found.validated,
        check(
            [([1.0, None], users, [40, 42], [1, 1])],
            lambda v: tuple(
                v.rows[name].to_pylist() for name in (LABEL, "user", "__offset", "__partition")
            ),
        ),
        "validated",
    )
    assert_that(
        found.invalid,
        check(
            [(41, "column 'click': 2: a label is 0, 1 or null", 6)],
            lambda x: (x.offset, x.reason, x.record["time"]),
        ),
        "invalid",
    )


def test_a_chunk_is_split_by_window_and_knows_what_was_ahead_of_each_row(pipeline) -> None:
    valid, _ = validate(SPEC, decoded(clicks([150, 20, 110, 250, 30])))
    found = pipeline | beam.Create([valid], reshuffle=False) | AssignWindows(LENGTH)
    assert_that(
        found,
        check(
            [[(100, [1, 4], [150, 250]), (200, [0, 2], [-(2**62), 150]), (300, [3], [150])]],
            lambda w: [(p.window_end, p.offsets.tolist(), p.ahead.tolist()) for p in w.pieces],
        ),
    )


def test_chunks_survive_the_coder_that_a_distributed_runner_would_use(monkeypatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    coder = ColumnarCoder()
    chunk = assign(validate(SPEC, decoded(clicks([150, 20])))[0], LENGTH)
    copy = coder.decode(coder.encode(chunk))
    assert [p.rows for p in copy.pieces] == [p.rows for p in chunk.pieces]
    assert [p.ahead.tolist() for p in copy.pieces] == [p.ahead.tolist() for p in chunk.pieces]
    assert copy.decoded.rows == chunk.decoded.rows
    assert (copy.greatest, copy.decoded.ends) == (150, False)
    assert coder.estimate_size(chunk) > 0
    for lines in ((), (b"1,\xff\n", b"2\n")):
        text = Chunk(3, 10, 13, True, CsvLines(("a", "b"), lines))
        assert coder.decode(coder.encode(text)) == text


class Twice(beam.PTransform):
    def expand(self, ranges):
        return {"rows": ranges | beam.Map(lambda r: r.rows * 2), "all": ranges}


def test_epochs_run_one_after_the_other_over_their_own_ranges_and_leave_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    epochs, others = MicroEpochs(Twice()), MicroEpochs(Twice())
    assert epochs.run([Range(0, 0, 3), Range(0, 3, 4)])["rows"] == [6, 8]
    assert others.run([Range(1, 0, 1)])["rows"] == [2]
    assert epochs.run([Range(0, 7, 5)]) == {"rows": [10], "all": [Range(0, 7, 5)]}
    assert list(tmp_path.iterdir()) == []
