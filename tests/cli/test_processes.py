from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream_prune.cli.demo.processes import Processes, interrupted_by_signals
from stream_prune.errors import RunError

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
DEAF = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(grandchild.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    """A zombie that nobody has waited for yet is not alive."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def gone(*pids: int) -> bool:
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(alive(pid) for pid in pids)


def test_an_error_ends_all_of_them(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    one, two = processes.start("one", SLEEP), processes.start("two", SLEEP)
    processes.wait_for("two", lambda: "up" in two.said(), 20)
    assert alive(one.process.pid)
    with pytest.raises(ZeroDivisionError), processes:
        raise ZeroDivisionError
    assert gone(one.process.pid, two.process.pid)


def test_one_that_dies_is_told_with_what_it_said_last(tmp_path: Path) -> None:
    fails = [sys.executable, "-c", "import sys; sys.exit('no such topic')"]
    with Processes(tmp_path) as processes:
        processes.start("producer", fails)
        with pytest.raises(
            RunError, match=r"(?s)producer ended with code 1; .*producer.txt.*no such topic"
        ):
            processes.wait_for("nothing", lambda: False, 20)


def test_one_that_has_done_its_work_is_no_error(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        done = processes.start("publish", [sys.executable, "-c", ""], may_end=True)
        done.process.wait(20)
        processes.check()
        assert not processes.running("publish")


def test_one_that_does_not_listen_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_prune.cli.demo.processes.END_SECONDS", 0.2)
    with Processes(tmp_path) as processes:
        deaf = processes.start("deaf", [sys.executable, "-c", DEAF])
        processes.wait_for("deaf", lambda: bool(deaf.said()), 20)
        grandchild = int(deaf.said())
        assert alive(grandchild)
    assert gone(deaf.process.pid, grandchild)


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        Processes(tmp_path) as processes,
        pytest.raises(RunError, match="job: no-such-program cannot be started: No such file"),
    ):
        processes.start("job", ["no-such-program"])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_and_its_processes(tmp_path: Path, how: signal.Signals) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from stream_prune.cli.demo.processes import Processes, interrupted_by_signals\n"
        "with interrupted_by_signals(), Processes(Path(sys.argv[1])) as processes:\n"
        "    child = processes.start('one', ['sleep', '60'])\n"
        "    print(child.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    os.kill(parent.pid, how)
    assert parent.wait(20) != 0
    assert gone(child)
    parent.stdout.close()


def test_after_the_block_signals_do_what_they_did(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interrupted_by_signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
