from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from stream_prune.cli.demo import readings, view
from stream_prune.cli.demo.readings import (
    Committed,
    JournalReading,
    LogReading,
    Reading,
    Readings,
    ServerReading,
    Trained,
)

DAY = 86_400_000


def window(step: int, ne: float, macs: int) -> dict:
    figures = {"window_end": step * DAY, "rows": 100, "ne_cumulative": ne, "sliding_auc": None}
    more = {"macs_inference": macs, "rows_used": {"item": 7, "user": 3}}
    return {"run": "r", "step": step, "kind": "window", **figures, **more}


def write(path: Path, *lines: dict, tail: str = "") -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)


START = {"run": "r", "step": 0, "kind": "start", "dense_macs_inference": 1000}
DRIFT = {"run": "r", "step": 2, "kind": "drift", "rows": 200, "trigger": "detector", "severity": 2}


def test_the_journal_is_followed_and_read_anew_when_it_was_cut_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    reading = JournalReading(path)
    assert reading.read().window_end is None
    write(path, START, window(1, 0.9, 1000), tail='{"half a')
    assert (reading.read().rows, reading.now.density) == (100, 1.0)
    write(path, START, window(1, 0.9, 1000), DRIFT, window(3, 0.8, 250))
    now = reading.read()
    assert (now.rows, now.ne, now.density, now.alarms, now.rows_used) == (200, 0.8, 0.25, 1, 10)
    assert [event.kind for event in now.events] == ["drift"]
    write(path, START, window(1, 0.7, 500))  # a killed run goes on from its checkpoint
    now = reading.read()
    assert (now.rows, now.ne, now.density, now.alarms) == (100, 0.7, 0.5, 0)


class Topics:
    def __init__(self) -> None:
        self.sent = 0

    def read(self) -> int:
        self.sent += 500
        return self.sent


def test_before_anything_is_there_the_view_has_dashes(tmp_path: Path) -> None:
    parts = Topics(), LogReading(tmp_path), JournalReading(tmp_path / "journal.jsonl")
    reading = Readings(*parts, ServerReading("http://127.0.0.1:1", "flights")).read()  # type: ignore[arg-type]
    assert "window -, trained to -, NE -, density -, 0 drift alarms, serving nothing yet" in (
        view.line(reading)
    )
    assert reading.lag == 500


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    journal = JournalReading(tmp_path / "journal.jsonl")
    write(tmp_path / "journal.jsonl", START, window(1, 0.9, 1000), DRIFT, window(3, 0.8, 250))
    committed = Committed(window_end=4 * DAY, windows=4, read=800)
    committed.counts.update(good=790, late=7, undecodable=3)
    return Reading(61.0, 1_000, 520.0, committed, 480.0, journal.read(), "3")


def test_the_screen_has_every_figure_within_its_width(reading: Reading) -> None:
    out = io.StringIO()
    addresses = {"MLflow": "http://127.0.0.1:5000"}
    Console(file=out, width=100).print(view.screen("flights", reading, addresses))
    text = out.getvalue()
    for told in (
        *("flights · 1:01", "520/s", "1,000 events sent", "1970-01-05 00:00, 4 committed"),
        *("lag 200 events", "790 good, 7 late, 3 undecodable", "NE 0.8000", "25%"),
        *("10 embedding rows", "drift because of detector", "version 3", "http://127.0.0.1:5000"),
    ):
        assert told in text, told
    assert max(map(len, text.splitlines())) == 100


def test_without_a_terminal_there_is_a_line_now_and_then(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(view, "LINE_EVERY_S", 1000.0)
    with view.view(Console(file=out), "flights", {"MLflow": "http://m"}) as show:
        show(reading)
        show(reading)
    assert out.getvalue().splitlines() == ["MLflow: http://m", view.line(reading)]


def test_rates_are_over_the_last_seconds() -> None:
    rate = readings.Rate()
    seen = [rate.at(float(second), 100 * second) for second in range(20)]
    assert seen[-1] == 100.0
    assert rate.at(20.0, 1_900 + 5_000) > 500


def test_a_curve_has_as_many_bars_as_there_is_room() -> None:
    assert view.curve([]) == ""
    assert view.curve([1.0, 1.0]) == "▁▁"
    assert len(view.curve([float(i) for i in range(1000)])) == view.CURVE_WIDTH
    assert Trained().ne_history.maxlen == readings.HISTORY
