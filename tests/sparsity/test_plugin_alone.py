"""The plugin without anything but torch, numpy, safetensors and torch-pruning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCKED = ["apache_beam", "kafka", "mlflow", "pyarrow", "numba", "river", "pydantic"]
BLOCK = f"""
import sys
import importlib.abc

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

sys.meta_path.insert(0, Blocked())
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=environment,
    )


def test_every_module_of_the_plugin_can_be_imported() -> None:
    done = python(
        """
import importlib, pkgutil
import stream_prune.sparsity, stream_prune.drift
for room in (stream_prune.sparsity, stream_prune.drift):
    for name in room.__all__:
        getattr(room, name)
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
try:
    stream_prune.drift.Adwin()
except Exception as error:
    print(type(error).__name__, error)
"""
    )
    assert done.returncode == 0, done.stderr
    assert "ConfigError the drift detector ADWIN needs river: pip install" in done.stdout


def test_the_example_of_a_users_own_loop_shrinks_grows_on_the_drift_and_trains_on() -> None:
    path = ROOT / "examples" / "own_loop.py"
    done = python(f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')")
    assert done.returncode == 0, done.stderr
    table = [line.split() for line in done.stdout.splitlines() if line[:1] == " "][1:]
    kinds = [(row[1], row[2]) for row in table]
    assert kinds.count(("shrink", "step")) == 4  # both descents have three steps
    assert ("grow", "drift") in kinds
    assert ("shrink", "regrown") in kinds
    grown = next(row for row in table if row[1:3] == ["grow", "drift"])
    assert 480 * 256 < int(grown[0]) < 560 * 256  # soon after the planted change
    last = next(line for line in done.stdout.splitlines() if line.startswith("in the end"))
    assert float(last.split()[4]) < float(grown[3])
    assert "tower.4 (its units are outputs of the model)" in done.stdout
