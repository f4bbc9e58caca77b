"""The documentation builds, and what it names is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from stream_prune.cli.config_reference import reference
from stream_prune.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    page = (tmp_path / "configuration" / "index.html").read_text(encoding="utf-8")
    assert "regrow_density" in page
    for page in tmp_path.rglob("*.html"):
        for kind in ("src", "href"):
            outside = rf'<(?:script|link|img)[^>]*{kind}="(https?:)?//'
            assert not re.search(outside, page.read_text(encoding="utf-8")), page


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_commands_and_files_that_a_page_names_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    group = typer.main.get_command(app)
    for name in re.findall(r"stream-prune ([a-z][a-z-]*)", text):
        assert name in group.commands, name
    for name in re.findall(r"\b((?:configs|examples|benchmarks|stream_prune)/[\w./-]+\w)", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"make ([a-z][a-z-]*)\b(?=[`\n]| +#)", text):
        assert f"\n{name}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), name


def test_every_setting_of_the_reference_says_what_it_means() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    for row in rows:
        assert len(row) >= 4, row
        assert row[3].strip(" |"), row
