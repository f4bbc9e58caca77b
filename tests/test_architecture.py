from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for package in ("stream_prune", "beam_jobs", "serving")
    for path in ((ROOT / package / "__init__.py"), *(ROOT / package).glob("*/__init__.py"))
    if path.exists()
)
HEAVY = ("torch", "apache_beam", "mlflow", "numba", "pyarrow", "onnxruntime", "fastapi", "plotly")


def test_arrows_between_the_rooms_point_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """The heavy packages that importing each room brings, each in an interpreter of its own."""
    program = (
        "import importlib, sys; importlib.import_module(sys.argv[1]);"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    running = {
        room: subprocess.Popen(
            [sys.executable, "-c", program, room], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for room in ROOMS
    }
    found = {room: process.communicate()[0].split() for room, process in running.items()}
    assert all(process.returncode == 0 for process in running.values())
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_imports_nothing_heavy(room: str, imported: dict[str, list[str]]) -> None:
    assert imported[room] == []


def test_the_plugin_needs_no_streaming_and_no_registry() -> None:
    blocked = ("apache_beam", "kafka", "mlflow", "pyarrow", "fastapi", "pydantic", "typer")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}));"
        "from stream_prune.sparsity.controller import SparsityController;"
        "from stream_prune.drift.monitor import DriftMonitor"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_nothing_that_loads_a_file_unpickles() -> None:
    for path in [*(ROOT / "stream_prune").rglob("*.py"), *(ROOT / "serving").rglob("*.py")]:
        code = path.read_text(encoding="utf-8")
        for word in ("import pickle", "torch.load(", "joblib", "cloudpickle", "allow_pickle=True"):
            assert word not in code, path


def test_every_public_name_is_there() -> None:
    import stream_prune

    for name in stream_prune.__all__:
        assert getattr(stream_prune, name).__name__ == name
