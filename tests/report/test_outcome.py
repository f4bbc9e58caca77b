from __future__ import annotations

import json
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path
from queue import Queue
from urllib.error import HTTPError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import write_run

from stream_prune.report.follow import follow
from stream_prune.report.layers import layers
from stream_prune.report.outcome import calibration, cost_and_quality, front
from stream_prune.report.run import Run, read_run
from stream_prune.report.slices import slices

POINTS = st.lists(st.tuples(st.floats(1, 9), st.floats(0, 1)), min_size=1, max_size=20)


@given(POINTS)
def test_the_front_holds_what_no_other_run_beats(points: list[tuple[float, float]]) -> None:
    kept = front(points)
    for i, (cost, loss) in enumerate(points):
        others = [point for point in points if point != (cost, loss)]
        beaten = any(c <= cost and x <= loss for c, x in others)
        assert not (i in kept and beaten)
        if not beaten:
            assert (cost, loss) in [points[k] for k in kept]


def a_run(tmp_path: Path, name: str = "a", **summary: object) -> Run:
    run = read_run(write_run(tmp_path / name, seed=0, events=True))
    return replace(run, summary={**run.summary, **summary})


def test_runs_stand_at_their_cost_and_quality(tmp_path: Path) -> None:
    cheap = a_run(tmp_path, "cheap", mean_macs_inference=10, ne=0.91)
    worse = a_run(tmp_path, "worse", mean_macs_inference=20, ne=0.92)
    (figure,) = cost_and_quality([cheap, worse])
    assert {t["name"]: (t["x"], t["y"]) for t in figure.traces[1:]} == {
        "cheap": ([10.0], [0.91]),
        "worse": ([20.0], [0.92]),
    }
    assert [row[3] for row in figure.table[1:]] == ["yes", ""]
    assert cost_and_quality([cheap]) == []


def test_the_calibration_curve_holds_the_summarys_groups(tmp_path: Path) -> None:
    groups = {"rows": [10, 20], "score": [0.1, 0.4], "rate": [0.2, 0.3]}
    (figure,) = calibration([a_run(tmp_path, reliability=groups), a_run(tmp_path, "b")])
    ideal, curve = figure.traces
    assert (curve["x"], curve["y"]) == ([0.1, 0.4], [0.2, 0.3])
    assert ideal["x"] == [0, 0.4]


def test_layers_show_what_each_group_kept_from_when_on(tmp_path: Path) -> None:
    (figure,) = layers(a_run(tmp_path))
    (trace,) = figure.traces
    assert trace["name"] == "top.0"
    assert trace["y"] == [1.0, 104 / 512, 1.0, 1.0, 1.0]  # the last one holds to the end
    assert sorted(trace["x"]) == trace["x"]


def test_slices_come_largest_first(tmp_path: Path) -> None:
    def of(rows: int) -> dict[str, object]:
        return {"labelled": rows, "ne": 0.9, "auc": None, "calibration": 1.1}

    found = slices([a_run(tmp_path, slices={"origin": {"JFK": of(10), "EWR": of(2_000)}})])
    assert found == [
        ["a", "origin", "EWR", "2,000", "0.9000", "–", "1.1000"],
        ["a", "origin", "JFK", "10", "0.9000", "–", "1.1000"],
    ]


def test_a_followed_page_tells_news_only_when_there_are_some(tmp_path: Path) -> None:
    folders = [tmp_path / "late", write_run(tmp_path / "a", seed=0)]
    address: Queue[str] = Queue()
    threading.Thread(
        target=follow,
        args=(folders,),
        kwargs={"title": "t", "ready": address.put},
        daemon=True,
    ).start()
    base = address.get(timeout=30)

    def ask(path: str, tag: str = "") -> tuple[int, str, str]:
        request = urllib.request.Request(base + path, headers={"If-None-Match": tag})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), answer.headers["ETag"]
        except HTTPError as error:
            return error.code, error.read().decode(), ""

    status, page, _ = ask("")
    assert status == 200
    assert "connect-src 'self'" in page
    status, news, tag = ask("news")
    assert status == 200
    assert len(news) < len(page) / 5  # without the library that draws
    assert ask("news", tag)[0] == 304
    write_run(tmp_path / "late", seed=1)
    status, news, _ = ask("news", tag)
    assert (status, "late" in news) == (200, True)
    (tmp_path / "a" / "summary.json").write_text("{")
    status, told, _ = ask("news", tag)
    assert status == 503
    assert "summary.json: cannot be read" in told
    assert ask("etc/passwd")[0] == 404


def test_lines_of_slices_are_no_events(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", seed=0)
    with (folder / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "slices", "step": 9, "columns": {}}) + "\n")
    assert read_run(folder).events == []


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    import socket

    from stream_prune.errors import RunError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match=r"port \d+: .*--port"):
            follow([tmp_path], title="t", port=taken.getsockname()[1], ready=print)
