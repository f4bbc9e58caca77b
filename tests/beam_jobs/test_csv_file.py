from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.csv_file import CsvFile, decode_lines
from beam_jobs.options import CsvFormat
from stream_prune.errors import ConfigError, RunError

FORM = CsvFormat()


def read(path: Path, size: int = 3) -> tuple[dict[int, tuple[str | None, ...]], dict[int, str]]:
    """Rows and the text of undecodable lines, by offset, read ``size`` rows at a time."""
    file = CsvFile(path, FORM)
    rows: dict[int, tuple[str | None, ...]] = {}
    letters: dict[int, str] = {}
    offset, ends = 0, False
    while not ends:
        found = file.read(offset, size)
        assert found is not None
        lines, count, ends = found
        batch, places, bad = decode_lines(lines, FORM, 0, offset)
        for place, row in zip(places, batch.to_pylist(), strict=True):
            rows[offset + place] = tuple(row.values())
        letters |= {letter.offset: str(letter.record) for letter in bad}
        offset += count
    assert file.read(offset + 1, 1) is None
    return rows, letters


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "log.csv"
    path.write_bytes(data)
    return path


def test_nulls_quotes_and_byte_order_mark(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbfa,b,c\r\n1,,NA\r\n"NA","","x,y"\r\n"say ""hi""", z ,1e3'
    rows, letters = read(write(tmp_path, data))
    assert rows == {0: ("1", None, None), 1: ("NA", "", "x,y"), 2: ('say "hi"', " z ", "1e3")}
    assert not letters


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_each_bad_line_is_a_letter_of_its_own_wherever_chunks_begin(tmp_path: Path, size) -> None:
    lines = [
        b"1,2,3", b"4,5", b"6,7,8,9", b'"open,7,8', b"9,9,9", b"\xff,1,1", b'1,2,"',
        b"a\rb,1,2", b"1,1,1",
    ]  # fmt: skip
    rows, letters = read(write(tmp_path, b"a,b,c\n" + b"\n".join(lines) + b"\n\n\r\n"), size)
    assert rows == {0: ("1", "2", "3"), 4: ("9", "9", "9"), 8: ("1", "1", "1")}
    assert letters == {
        1: "4,5", 2: "6,7,8,9", 3: '"open,7,8', 5: "\\xff,1,1", 6: '1,2,"', 7: "a\rb,1,2",
    }  # fmt: skip


VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=5)


@given(
    st.lists(st.tuples(VALUE, VALUE), max_size=12),
    st.lists(st.integers(0, 12), max_size=3),
    st.integers(1, 7),
)
def test_good_lines_are_read_as_written_between_bad_ones(
    tmp_path_factory, values, bad, size
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    written = {}
    offset = 0
    for i, value in enumerate(values):
        if i in bad:
            out.write('"never closed\n')
            offset += 1
        writer.writerow(value)
        written[offset] = value
        offset += 1
    data = b"a,b\n" + out.getvalue().encode()
    rows, letters = read(write(tmp_path_factory.mktemp("csv"), data), size)
    assert rows == written
    assert len(rows) + len(letters) == offset


def test_a_file_can_be_read_from_any_row(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\n" + b"".join(b"%d\n" % i for i in range(20)))
    file = CsvFile(path, FORM)
    for offset in (15, 3, 4, 19, 0):
        found = file.read(offset, 2)
        assert found is not None
        assert found[0].lines[0] == b"%d\n" % offset
    assert file.read(20, 5) == (type(found[0])(("a",), ()), 0, True)


def test_an_empty_file_and_a_doubled_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"log\.csv: is empty"):
        CsvFile(write(tmp_path, b""), FORM)
    with pytest.raises(ConfigError, match=r"log\.csv: column 'a' is there twice"):
        CsvFile(write(tmp_path, b"a,b,a\n"), FORM)
