"""Files of events that can't be read say where, and no part of them is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_prune.cli.event_files import read_events
from stream_prune.errors import RunError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n7,8\n", r"row 3 .*has 1 values, there are 2 columns: '3'"),
        ("a,b\n1,2\n3,4\n4,5,6\n", r"row 4 .*has 3 values, there are 2 columns: '4,5,6'"),
        ("a,a\n1,2\n", "row 1: column 'a' is there twice"),
        ("", "cannot be read as csv: Empty CSV file"),
    ],
)
def test_a_bad_line_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        read_events(path)
    assert str(caught.value).startswith(str(path))


def test_good_lines_are_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text('a,b\n007,"x\ny"\n\nNA,\n')
    assert read_events(path).to_pydict() == {"a": ["007", None], "b": ["x\ny", None]}
