from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_runs import write_run

from stream_prune.errors import ConfigError, RunError
from stream_prune.report.page import write_report
from stream_prune.report.run import read_run

NAMES = ("dense", "adaptive")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [write_run(root / n, seed=i, events=n == "adaptive") for i, n in enumerate(NAMES)]


@pytest.fixture(scope="module")
def page(folders: list[Path]) -> Path:
    return write_report([read_run(folder) for folder in folders], folders[0].parent / "report.html")


class Page(HTMLParser):
    """Elements with their attributes, table rows as lists of texts, and the inlined figures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.json = ""
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = "json" if dict(attrs).get("type") == "application/json" else tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "json":
            self.json += data
        if self._open in ("td", "th"):
            self.rows[-1][-1] += data

    def figure(self, id_: str) -> dict[str, Any]:
        (found,) = (f for f in json.loads(self.json) if f["id"] == id_)
        return dict(found)


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    journal = (folder / "journal.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, journal) if line["kind"] == kind]


def test_the_page_loads_nothing_from_anywhere(page: Path) -> None:
    parsed = Page(page)
    loading = {"src", "srcset", "poster", "data", "action", "background"}
    for tag, attributes in parsed.elements:
        assert not loading & set(attributes), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base")
    policy = next(a["content"] for t, a in parsed.elements if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_plots_hold_the_journals_values(page: Path, folders: list[Path]) -> None:
    figure = Page(page).figure("ne")
    for folder in folders:
        trace = next(t for t in figure["traces"] if t["name"] == folder.name)
        assert trace["y"] == [w["ne_cumulative"] for w in lines(folder, "window")]
    macs = Page(page).figure("macs")["traces"][0]
    assert macs["y"] == [w["macs_inference"] for w in lines(folders[0], "window")]
    churn = Page(page).figure("churn_adaptive")["traces"][0]
    tables = [c["tables"]["tailnum"] for c in lines(folders[1], "churn")]
    assert churn["y"] == [t["admitted"] + t["evicted"] for t in tables]


def test_sliding_auc_skips_windows_in_which_it_was_not_computed(
    page: Path, folders: list[Path]
) -> None:
    trace = Page(page).figure("auc")["traces"][0]
    values = [w["sliding_auc"] for w in lines(folders[0], "window")]
    assert trace["y"] == [v for v in values if v is not None]


def test_alarms_stand_along_the_top_where_no_readjustment_can_hide_them(page: Path) -> None:
    figure = Page(page).figure("ne")
    traces = {t["name"]: t for t in figure["traces"]}
    alarm, adjusted = traces["adaptive: drift alarm"], traces["adaptive: re-adjustment"]
    assert len(alarm["x"]) == 1
    assert alarm["yaxis"] == "y2"
    assert figure["layout"]["yaxis2"]["range"] == [0, 1]
    assert 0.8 < alarm["y"][0] < 1
    line = traces["adaptive"]
    assert len(adjusted["x"]) == 2
    assert "yaxis" not in adjusted
    for time, y in zip(adjusted["x"], adjusted["y"], strict=True):
        assert y == pytest.approx(line["y"][line["x"].index(time)])


def test_the_comparison_table_has_a_row_for_every_run(page: Path) -> None:
    rows = {row[0]: row for row in Page(page).rows if len(row) == 10}
    assert rows["adaptive"][1:5] == ["0.9200", "0.7123", "4,097", "5,900"]
    assert rows["adaptive"][-1] == "–"  # its serving was not measured


def test_every_plot_stands_beside_a_table_of_its_values(page: Path, folders: list[Path]) -> None:
    parsed = Page(page)
    plots = [a for _, a in parsed.elements if a.get("role") == "img"]
    assert len(plots) == len(json.loads(parsed.json))
    assert all(a["aria-label"] for a in plots)
    last = lines(folders[0], "window")[-1]
    assert any(f"{last['ne_cumulative']:,.6g}" in row for row in parsed.rows)


def test_the_event_log_tells_what_happened_and_why(page: Path) -> None:
    rows = Page(page).rows
    names, *events = [row for row in rows if len(row) == 12]
    assert [row[0] for row in events] == ["adaptive"] * 3
    shrink, alarm, _ = (dict(zip(names, row, strict=True)) for row in events)
    assert [row[names.index("what")] for row in events] == ["shrink", "drift", "grow"]
    assert shrink["trigger"] == "warm-up"
    assert shrink["density"] == "1.00 → 0.20"
    assert shrink["MACs"] == "5,000 → 1,000"
    assert alarm["severity"] == "9.5"
    below = [rows[rows.index(row) + 1] for row in events[:2]]
    assert below == [["", "units: top.0 512 → 104"], events[2]]  # an alarm changes no plan


def test_what_left_the_model_as_it_was_is_no_diamond(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", seed=0, events=True)
    kept = next(line for line in lines(folder, "grow"))
    with (folder / "journal.jsonl").open("a") as file:
        for kind in ("keep", "dropped", "guardrail", "revert"):
            file.write(json.dumps(kept | {"kind": kind}) + "\n")
    page = Page(write_report([read_run(folder)], tmp_path / "report.html"))
    traces = {t["name"]: t for t in page.figure("ne")["traces"]}
    assert len(traces["a: re-adjustment"]["x"]) == 3  # shrink, grow, revert
    shown = [row[4] for row in page.rows if len(row) == 12][1:]
    assert sorted(shown) == ["drift", "dropped", "grow", "guardrail", "keep", "revert", "shrink"]


def test_a_run_name_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "<script>alert(1)<&'\"", seed=0)
    parsed = Page(write_report([read_run(folder)], tmp_path / "report.html"))
    assert sum(tag == "script" for tag, _ in parsed.elements) == 3
    assert parsed.figure("ne")["traces"][0]["name"] == folder.name


def test_a_run_without_a_window_yet_gives_a_page_that_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "young", seed=0, windows=0)
    page = write_report([read_run(folder)], tmp_path / "report.html")
    assert "no window has been evaluated yet" in page.read_text()
    assert json.loads(Page(page).json) == []


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no run folder: there is no journal\.jsonl"):
        read_run(tmp_path)
    with pytest.raises(ConfigError, match=r"nobody: no such folder"):
        read_run(tmp_path / "nobody")


def test_a_broken_summary_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", seed=0)
    (folder / "summary.json").write_text("{")
    with pytest.raises(RunError, match=r"summary\.json: cannot be read"):
        read_run(folder)
