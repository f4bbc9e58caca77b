"""The report in a real browser: drawn, clicked, read, followed; its console stays clean."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from report_runs import write_run

from stream_prune.report.page import write_report
from stream_prune.report.run import read_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

NE = "document.getElementById('plot-ne')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    folders = [write_run(root / n, seed=i, events=bool(i)) for i, n in enumerate(("dense", "ads"))]
    return write_report([read_run(folder) for folder in folders], root / "report.html")


def test_a_run_is_switched_off_and_a_value_is_read(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path, page.as_uri()) as browser:
        drawn = browser.value("JSON.parse(document.getElementById('figures').textContent).length")
        assert browser.value("document.querySelectorAll('.plot .main-svg').length") >= drawn

        browser.click("#plot-ne .legendtoggle")
        browser.wait(f"{NE}.data[0].visible === 'legendonly'")
        assert browser.value(f"{NE}.data[1].visible") != "legendonly"

        point = browser.value(
            "(() => { const e = document.getElementById('plot-macs');"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "const {xaxis, yaxis} = e._fullLayout; const {x, y} = e.data[1];"
            "const at = (start, axis, value) => start + axis._offset + axis.d2p(value);"
            "return [at(b.x, xaxis, x[40]), at(b.y, yaxis, y[40])];"
            "})()"
        )
        browser.mouse("mouseMoved", point[0] - 30, point[1])
        browser.mouse("mouseMoved", *point)
        browser.wait("document.querySelector('#plot-macs .hovertext') !== null")
        told = browser.value("document.querySelector('#plot-macs .hoverlayer').textContent")
        assert "1000" in told.replace(",", "") or "1k" in told

        assert not browser.value("document.querySelector('#plot-ne ~ details').open")
        browser.click("#plot-ne ~ details summary")
        browser.wait("document.querySelector('#plot-ne ~ details').open")
        rows = browser.value("document.querySelectorAll('#plot-ne ~ details tbody tr').length")
        assert rows == 60
        assert browser.said == []


def test_zooming_changes_the_axis_and_a_double_click_brings_it_back(
    page: Path, tmp_path: Path
) -> None:
    shown = f"JSON.stringify({NE}._fullLayout.xaxis.range)"
    with Browser(tmp_path, page.as_uri()) as browser:
        before = browser.value(shown)
        box = browser.value(
            "(() => { const e = document.querySelector('#plot-ne .nsewdrag');"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x, b.y, b.width, b.height]; })()"
        )
        x, y, width, height = box
        browser.mouse("mousePressed", x + width * 0.3, y + height * 0.5)
        browser.call(
            "Input.dispatchMouseEvent",
            type="mouseMoved",
            x=x + width * 0.6,
            y=y + height * 0.5,
            button="left",
        )
        browser.mouse("mouseReleased", x + width * 0.6, y + height * 0.5)
        browser.wait(f"{shown} !== {json.dumps(before)}")
        browser.value(f"Plotly.relayout({NE}, {{'xaxis.autorange': true}}).then(() => 1)")
        assert browser.value(f"{NE}._fullLayout.xaxis.autorange") is True
        assert browser.said == []


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_the_light_and_in_the_dark(
    page: Path, tmp_path: Path, dark: bool
) -> None:
    with Browser(tmp_path, page.as_uri(), width=390, dark=dark) as browser:
        assert browser.value("document.documentElement.scrollWidth") <= 390
        assert browser.said == []


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A run folder that is half written, and the address of a page that follows it."""
    whole = write_run(tmp_path / "whole", seed=0, events=True)
    folder = tmp_path / "run"
    folder.mkdir()
    lines = (whole / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(lines[:30]))
    command = [sys.executable, "-c", "from stream_prune.cli.main import main; main()"]
    command += ["report", "--follow", "--port=0", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().split()[0]
    yield folder, address
    process.kill()
    process.wait()


def test_an_open_page_keeps_up_with_its_run_and_keeps_what_one_zoomed_into(
    followed: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = followed
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    with Browser(tmp_path / "profile", address) as browser:
        points = browser.value(f"{NE}.data[0].x.length")
        assert 20 < points < 30
        zoomed = '["2013-01-03 00:00:00","2013-01-05 00:00:00"]'
        browser.value(f"Plotly.relayout({NE}, {{'xaxis.range': {zoomed}}}).then(() => 1)")
        ranged = f"JSON.stringify({NE}._fullLayout.xaxis.range)"
        before = browser.value(ranged)

        (folder / "journal.jsonl").write_text("".join(lines[:50]))
        browser.wait(f"{NE}.data[0].x.length > {points + 10}")
        assert browser.value(ranged) == before

        (folder / "journal.jsonl").write_text("".join(lines))
        browser.wait(
            "document.querySelector('[data-live=events]')?.textContent.includes('detector')"
        )
        assert browser.said == []
