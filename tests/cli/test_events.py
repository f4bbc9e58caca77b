"""``stream-prune events``: what it shows of a journal, and what it says where there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream_prune.cli.main import run
from stream_prune.sparsity.events import Event
from stream_prune.training.journal import CLOCK, Journal

NOON = 1_357_041_600_000  # 2013-01-01 12:00 UTC

SHRINK = Event(
    kind="shrink",
    rows=33_424,
    event_time=NOON,
    trigger="warm-up",
    severity=None,
    value=None,
    density_before=1.0,
    density_after=0.42,
    macs_before=299_536,
    macs_after=59_824,
    plan_before={"units": {"bottom.0": 512, "top.0": 1024}, "rows": {"origin": 3, "tail": 3750}},
    plan={"units": {"bottom.0": 248, "top.0": 1024}, "rows": {"origin": 3, "tail": 750}},
    rate=2.0,
    seconds=0.0361,
)
DRIFT = replace(
    SHRINK,
    kind="drift",
    rows=40_000,
    event_time=NOON + 90 * 60_000,
    trigger="detector",
    severity=9.46,
    value=0.71234,
    density_before=0.42,
    macs_before=59_824,
    plan_before=SHRINK.plan,
    seconds=0.0,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run as the trainer writes it, two windows and two events into it."""
    journal = Journal(tmp_path / "journal.jsonl", "a")
    journal.write(0, "start", {"dense_macs_inference": 299_536})
    write(journal, 401, SHRINK)
    journal.write(402, "window", {"window_end": NOON + 60_000, "ne": None})
    write(journal, 1447, DRIFT)
    journal.write(1448, "churn", {"tables": {}})
    journal.close()
    return tmp_path


def write(journal: Journal, step: int, event: Event) -> None:
    record = event.record()
    kind, seconds = record.pop("kind"), record.pop("seconds")
    journal.write(step, kind, record | {CLOCK: {"seconds": seconds}})


def append(folder: Path, text: str) -> None:
    with (folder / "journal.jsonl").open("a") as file:
        file.write(text)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str], str]]:
    """Exit code, the lines on stdout, and stderr."""

    def call(*arguments: object) -> tuple[int, list[str], str]:
        code = run(["events", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return call


def test_every_decision_is_shown_with_its_figures_and_what_became_narrower(folder, call) -> None:
    code, lines, _ = call(folder)
    assert code == 0
    words = [line.split() for line in lines]
    shrink = "401 2013-01-01 12:00 33,424 shrink warm-up 1.00 → 0.42 299,536 → 59,824 2 0.036"
    assert words[1] == shrink.split()
    assert lines[2] == "    units: bottom.0 512 → 248; rows: tail 3,750 → 750"
    drift = "1,447 2013-01-01 13:30 40,000 drift detector 0.7123 9.5 0.42 59,824 2 0.000"
    assert words[3] == drift.split()
    assert len(lines) == 4  # an alarm alone changes no plan


def test_figures_stand_below_their_names(folder, call) -> None:
    _, (names, shrink, _, drift), _ = call(folder)
    for name, cell, line in (
        ("severity", "9.5", drift),
        ("slice loss", "0.7123", drift),
        ("rate", "2", shrink),
        ("step", "401", shrink),
    ):
        end = names.index(name) + len(name)
        assert line[:end].endswith(f" {cell}")
    for name, cell in (("what", "shrink"), ("MACs", "299,536 → 59,824")):
        assert shrink[names.index(name) :].startswith(cell)


def test_kinds_can_be_chosen_and_one_that_is_not_there_says_what_is(folder, call) -> None:
    _, lines, _ = call(folder, "--kind", "drift")
    assert [line.split()[5] for line in lines[1:]] == ["detector"]
    _, lines, _ = call(folder, "--kind", "drift", "--kind", "shrink")
    assert len(lines) == 4
    code, lines, _ = call(folder, "--kind", "shrnk")
    assert code == 0
    assert lines == [f"{folder}: no event of kind shrnk; there are: shrink 1, drift 1"]


def test_json_gives_the_journals_own_lines(folder, call) -> None:
    _, lines, _ = call(folder, "--json")
    journal = (folder / "journal.jsonl").read_text().splitlines()
    assert lines == [journal[1], journal[3]]
    assert call(folder, "--json", "--kind", "grow")[:2] == (0, [])


def test_a_kind_that_it_does_not_know_is_shown_as_it_is(folder, call) -> None:
    record: dict[str, Any] = {"run": "a", "step": 1500, "kind": "overhaul", "times": 3}
    more = {"plan": {"from": {"checkpoint": "1200"}}, "reason": "NaN", "of": [1], "none": None}
    append(folder, json.dumps(record | more) + "\n")
    _, lines, _ = call(folder, "--kind", "overhaul")
    # Its time is that of the last window before it.
    assert lines[1].split() == ["1,500", "2013-01-01", "12:01", "overhaul"]
    assert lines[2] == "    from: checkpoint 1200; times 3; reason: NaN; of: [1]"


def test_what_a_comparison_has_measured_is_shown(folder, call) -> None:
    measured = {"examples": 4096, "difference": 0.0123456}
    record = replace(SHRINK, kind="revert", measured=measured).record()
    append(folder, json.dumps({"run": "a", "step": 1500, **record}) + "\n")
    _, lines, _ = call(folder, "--kind", "revert")
    assert lines[2].endswith("; measured: examples 4,096, difference 0.01235")


def test_a_run_that_goes_on_is_shown_as_far_as_it_is(folder, call) -> None:
    _, before, _ = call(folder)
    append(folder, '{"run": "a", "step": 1500, "kind": "gr')
    code, after, _ = call(folder)
    assert (code, after) == (0, before)


def test_a_run_without_a_decision_says_so(tmp_path, call) -> None:
    Journal(tmp_path / "journal.jsonl", "a").close()
    assert call(tmp_path)[:2] == (0, [f"{tmp_path}: no event so far"])


def test_a_plan_is_broken_at_the_width_of_the_terminal(folder, call, monkeypatch) -> None:
    monkeypatch.setattr("stream_prune.cli.events._width", lambda: 40)
    _, lines, _ = call(folder)
    assert lines[2:4] == ["    units: bottom.0 512 → 248; rows:", "    tail 3,750 → 750"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"run": "a", "st\n', r"line 6 is no JSON"),
        ('{"run": "a", "step": 3}\n', r"line 6 is no journal line \(KeyError\('kind'\)\)"),
        ("[1, 2]\n", "line 6 is no journal line"),
        ('{"step": "x", "kind": "grow"}\n', "line 6 is no journal line"),
    ],
)
def test_a_damaged_line_is_named(folder, call, line, reason) -> None:
    append(folder, line)
    code, lines, error = call(folder)
    assert (code, lines) == (1, [])
    assert re.search(re.escape(f"{folder / 'journal.jsonl'}: ") + reason, error)


def test_a_folder_that_is_not_there_or_no_run_is_named(tmp_path, call) -> None:
    code, _, error = call(tmp_path / "nope")
    assert code == 2
    assert error == (
        f"stream-prune: {tmp_path / 'nope'}: no such folder: name the folder of a run\n"
    )
    code, _, error = call(tmp_path)
    assert code == 2
    assert error == (
        f"stream-prune: {tmp_path}: is no run folder: there is no journal.jsonl in it\n"
    )
