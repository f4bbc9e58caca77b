import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stream_prune.errors import ConfigError, RunError
from stream_prune.training.run_folder import locked, settle_config

HOLDER = """
import signal, sys
from pathlib import Path
from stream_prune.training.run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    signal.pause()
"""


def test_two_trainers_cannot_run_in_one_folder_and_a_killed_one_leaves_it_free(tmp_path: Path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        message = rf"another trainer \(process {holder.pid}\)"
        with pytest.raises(RunError, match=message), locked(tmp_path / "run"):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(timeout=20)
    with locked(tmp_path / "run"):
        pass


def test_a_run_folder_keeps_its_configuration(tmp_path: Path):
    free = frozenset({"follow"})
    config = {"seed": 1, "follow": False, "optimizer": {"lr": 0.1}}
    settle_config(tmp_path, config, free)
    settle_config(tmp_path, config | {"follow": True}, free)
    with pytest.raises(ConfigError, match=r"^optimizer\.lr = 0\.2: .* started with 0\.1"):
        settle_config(tmp_path, config | {"optimizer": {"lr": 0.2}}, free)
    with pytest.raises(ConfigError, match=r"^seed = 2: "):
        settle_config(tmp_path, config | {"seed": 2}, free)
