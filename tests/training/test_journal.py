import json
import math
from pathlib import Path

import numpy as np
import pytest

from stream_prune.errors import RunError
from stream_prune.training.journal import Journal, read


def test_a_line_can_be_read_as_soon_as_it_is_written(tmp_path: Path):
    journal = Journal(tmp_path / "journal.jsonl", "run-1")
    journal.write(3, "window", {"ne": 0.25, "rows": np.int64(4), "kept": (1, 2)})
    assert list(read(journal.path)) == [
        {"run": "run-1", "step": 3, "kind": "window", "ne": 0.25, "rows": 4, "kept": [1, 2]}
    ]


def test_what_a_killed_run_wrote_after_its_checkpoint_is_cut_and_written_again(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "run")
    journal.write(1, "window", {"ne": 0.5})
    journal.write(1, "drift", {})
    state = journal.state_dict()
    journal.write(1, "rows", {"n": 1})
    journal.write(2, "window", {"ne": 0.75})
    whole = path.read_bytes()

    again = Journal(path, "run")
    again.load_state_dict(state)
    assert [line["kind"] for line in read(path)] == ["window", "drift"]
    again.write(1, "rows", {"n": 1})
    again.write(2, "window", {"ne": 0.75})
    assert path.read_bytes() == whole


def test_a_key_is_never_written_twice_also_after_a_resume(tmp_path: Path):
    journal = Journal(tmp_path / "journal.jsonl", "run")
    journal.write(5, "window", {})
    again = Journal(journal.path, "run")
    again.load_state_dict(journal.state_dict())
    for twice in (journal, again):
        with pytest.raises(ValueError, match="step 5, kind 'window'"):
            twice.write(5, "window", {})
        with pytest.raises(ValueError, match="step 4"):
            twice.write(4, "drift", {})


def test_a_number_that_is_not_finite_becomes_null(tmp_path: Path):
    journal = Journal(tmp_path / "journal.jsonl", "run")
    journal.write(0, "window", {"auc": math.nan, "deep": [{"x": np.float32(math.inf)}]})
    (line,) = read(journal.path)
    assert line["auc"] is None
    assert line["deep"] == [{"x": None}]


def test_a_half_written_last_line_is_left_to_a_later_read(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(json.dumps({"step": 1}).encode() + b'\n{"step": 2')
    assert [line["step"] for line in read(path)] == [1]


def test_a_damaged_line_is_named(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"step": 1}\nnonsense\n')
    with pytest.raises(RunError, match=r"journal.jsonl: line 2 is no JSON"):
        list(read(path))


def test_a_journal_that_lost_lines_is_refused(tmp_path: Path):
    journal = Journal(tmp_path / "journal.jsonl", "run")
    journal.write(0, "window", {})
    state = journal.state_dict()
    journal.path.write_bytes(b"")
    with pytest.raises(RunError, match="lines were lost"):
        Journal(journal.path, "run").load_state_dict(state)
