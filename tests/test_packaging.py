from __future__ import annotations

import os
import re
import stat
import subprocess
import sysconfig
import time
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    for line in PINS:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line), line
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_every_named_dependency_is_pinned() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(d for extra in ("stream", "mlflow", "serve") for d in extras[extra]),
        *PROJECT["dependency-groups"]["dev"],
    ]
    names = {normal(re.split(r"[<>=!~;\[ ]", dependency)[0]) for dependency in wanted}
    assert names <= {normal(pin.partition("==")[0]) for pin in PINS}


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = dict(pin.split("==") for pin in PINS)
    # Not sys.path: setuptools, once imported, puts the copies that it carries in front of it.
    found = distributions(path=[sysconfig.get_path("purelib")])
    installed = {normal(d.metadata["Name"]): d.version for d in found}
    for name, version in pinned.items():
        assert installed.get(normal(name), version) == version, name


def test_the_plugin_asks_for_four_packages() -> None:
    names = {re.split(r"[<>=]", d)[0] for d in PROJECT["project"]["dependencies"]}
    assert names == {"torch", "numpy", "safetensors", "torch-pruning"}


def test_the_wheel_holds_every_file_of_the_packages() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    packages = (ROOT / name for name in ("stream_prune", "beam_jobs", "serving"))
    for path in (path for package in packages for path in package.rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc"):
            assert any(path.match(pattern) for pattern in patterns), path


def test_ci_calls_make_test_and_make_lint_and_nothing_else() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    code = [
        line
        for line in script.read_text().splitlines()
        if line and not line.startswith(("#", "cd"))
    ]
    assert code == ["set -euo pipefail", "make test", "make lint"]


@pytest.fixture
def make_folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)


def test_make_names_a_python_that_is_too_old(make_folder: Path) -> None:
    old = make_folder / "python3.9"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.1";; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make(make_folder, "install", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Python 3.9.1 is too old: Python 3.11 or later is needed" in done.stderr
    assert not (make_folder / ".venv").exists()


def test_make_names_a_python_that_is_not_there(make_folder: Path) -> None:
    done = make(make_folder, "install", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "no 'no-such-python' found: install Python 3.11 or later" in done.stderr


def test_make_installs_once_and_again_when_the_pins_change(make_folder: Path) -> None:
    def changed(*names: str, seconds_ago: float) -> None:
        """Times of their own: the clock of a file system can be coarser than make is fast."""
        when = time.time() - seconds_ago
        for name in names:
            (make_folder / name).touch()
            os.utime(make_folder / name, (when, when))

    stamps = (".venv/.created", ".venv/.installed", ".venv/.dev")
    (make_folder / ".venv").mkdir()
    changed("pyproject.toml", "constraints.txt", seconds_ago=30)
    for age, stamp in zip((20, 19, 18), stamps, strict=True):
        changed(stamp, seconds_ago=age)
    assert "pip install" not in make(make_folder, "-n", "test").stdout
    changed("constraints.txt", seconds_ago=10)
    assert make(make_folder, "-n", "test").stdout.count("pip install") == 2
