"""A comparison that is interrupted goes on where it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from test_compare_command import written

PROGRAM = Path(sys.executable).with_name("stream-prune")


def test_ctrl_c_ends_all_workers_and_the_next_call_finishes_what_they_had_begun(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, **{"[1, 2]": "[1]"})
    command = [str(PROGRAM), "compare", str(path), "--jobs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = tmp_path / "grid" / "runs"
    begun = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
        # Tests that were started in the background have Ctrl-C ignored, and so would the program.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not any(runs.glob("*/config.json")):
        assert time.monotonic() < deadline
        assert begun.poll() is None
        time.sleep(0.05)
    os.killpg(begun.pid, signal.SIGINT)
    _, said = begun.communicate(timeout=240)
    assert begun.returncode == 130
    assert said.strip() == "stream-prune: interrupted"
    assert len(list(runs.glob("*/summary.json"))) < 3
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert len(list(runs.glob("*/summary.json"))) == 3
    assert "ads half" in (tmp_path / "grid" / "table.csv").read_text().replace(",", " ")
