"""A model is due every so many windows, after a re-adjustment, and at the end; never twice."""

import pytest

from stream_prune.errors import ConfigError, RunError
from stream_prune.registry.publications import (
    BUILT,
    DROPPED,
    PUBLISHED,
    Publication,
    Publications,
)
from stream_prune.registry.publishing import Publishing
from stream_prune.registry.schedule import Schedule

START = {
    "kind": "start",
    "step": 0,
    "config": {"sparsity": {"budget": {"macs": 0.2}}},
    "dense_macs_inference": 1000,
}


def told(settings, lines, published=-1):
    schedule = Schedule(settings, published)
    for line in [START, *lines]:
        schedule.hear(line)
    return schedule


def windows(*steps):
    return [{"kind": "window", "step": step} for step in steps]


def resize(step, macs, kind="shrink"):
    return {"kind": kind, "step": step, "macs_after": macs}


def test_every_so_many_windows_counts_from_the_last_publication():
    schedule = told(Publishing(every_windows=3), windows(1, 2, 3, 4, 5))
    assert schedule.due(2) is None
    assert schedule.due(3) == "3 windows since the last one"
    schedule.built(3)
    assert schedule.due(5) is None
    schedule.hear(windows(6)[0])
    assert schedule.due(6) == "3 windows since the last one"


def test_a_readjustment_is_due_once_the_model_is_back_in_its_budget():
    settings = Publishing(after_readjustment=True)
    down = [resize(4, 500), resize(5, 200)]
    assert told(settings, down).due(4) is None  # half way down
    assert told(settings, down).due(5) == "re-adjusted"
    up_and_down = [resize(6, 800, "grow"), resize(7, 200)]
    schedule = told(settings, down + up_and_down, published=5)
    assert [schedule.due(step) for step in (5, 6, 7)] == [None, None, "re-adjusted"]
    schedule.built(7)
    assert schedule.due(9) is None


def test_the_last_checkpoint_is_due_at_the_end_only():
    lines = [*windows(1, 2), {"kind": "end", "step": 2}]
    assert told(Publishing(at_end=True), windows(1, 2)).due(2) is None
    assert told(Publishing(at_end=True), lines).due(2) == "the end of the log"
    assert told(Publishing(at_end=True), lines, published=2).due(2) is None


def test_nothing_is_due_by_itself_unless_asked_for():
    assert not Publishing().by_itself
    assert (
        told(Publishing(), [*windows(1), resize(1, 1), {"kind": "end", "step": 1}]).due(1) is None
    )


def line(step, outcome, **more):
    return Publication(step, outcome, "", f"artifacts/{step}", **more)


def test_what_waits_survives_a_half_written_line(tmp_path):
    publications = Publications(tmp_path)
    assert (publications.waiting(), publications.last_step()) == ([], -1)
    for step in (1, 2, 3):
        publications.add(line(step, BUILT))
    publications.add(line(1, PUBLISHED, version="4"))
    with publications.path.open("ab") as file:
        file.write(b'{"step": 2, "outcome": "dropp')
    assert [entry.step for entry in publications.waiting()] == [2, 3]
    publications.add(line(2, DROPPED))
    assert [entry.step for entry in publications.waiting()] == [3]
    assert publications.last_step() == 3


def test_artifacts_go_once_their_fate_is_known(tmp_path):
    publications = Publications(tmp_path)
    for step in (1, 2, 3):
        (tmp_path / f"artifacts/{step}").mkdir(parents=True)
        publications.add(line(step, BUILT))
    publications.add(line(1, PUBLISHED, version="1"))
    publications.add(line(3, PUBLISHED, version="2"))
    publications.tidy()
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir()) == ["2", "3"]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "publications.jsonl").write_text("[1]\n")
    with pytest.raises(RunError, match=r"publications\.jsonl: is damaged"):
        Publications(tmp_path).waiting()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"every_windows": 0}, "publish.every_windows = 0: must be 1 or more"),
        ({"spool": 0}, "publish.spool = 0"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        Publishing(**change)
