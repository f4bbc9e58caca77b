"""The replay job killed at random file operations on its log, and started again."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from clicks import batch_files, clicks, letters, options, random_times, windows, write

from beam_jobs.options import ReplayOptions
from beam_jobs.replay import replay

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["beam_jobs.replay"])
SIZES = {"out_of_orderness_ms": 60, "epoch_rows": 60, "max_bad_share": 0.2}


def _replay(given: ReplayOptions, kill_at: int, seen: multiprocessing.Value) -> None:
    """Replays, and kills itself before file operation ``kill_at`` below the log's folder."""
    folder = str(given.log)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event not in ("open", "os.link", "os.remove", "os.mkdir", "os.rename"):
            return
        if any(str(a).startswith(folder) for a in arguments if isinstance(a, (str, Path))):
            seen.value += 1
            if seen.value == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    replay(given)


def start(given: ReplayOptions, kill_at: int = -1) -> tuple[int, int]:
    """Runs the job in a process of its own; returns its exit code and its file operations."""
    seen = PROCESSES.Value("q", 0)
    process = PROCESSES.Process(target=_replay, args=(given, kill_at, seen))
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode, seen.value


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, ...]:
    tables = [clicks(random_times(n, seed)) for n, seed in ((160, 1), (120, 2))]
    bad = [9 if i % 13 == 5 else i % 2 for i in range(160)]
    tables[0] = clicks(tables[0]["time"].to_pylist(), click=bad)
    return write(tmp_path_factory.mktemp("in"), *tables)


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> tuple[Path, int]:
    """An undisturbed run: its log, and how many file operations it took."""
    log = tmp_path_factory.mktemp("whole") / "log"
    code, operations = start(options(files, log, **SIZES))
    assert code == 0
    kinds = {letter["kind"] for letter in letters(log)}
    assert kinds == {"invalid", "late"}
    return log, operations


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_the_log_ends_up_as_if_undisturbed(
    tmp_path: Path, files, whole, seed
) -> None:
    undisturbed, operations = whole
    given = options(files, tmp_path / "log", **SIZES)
    choose = random.Random(seed)
    codes = [start(given, choose.randint(1, operations // 3))[0] for _ in range(5)]
    assert codes.count(-signal.SIGKILL) >= 2
    assert start(given)[0] == 0
    assert windows(tmp_path / "log") == windows(undisturbed)
    assert batch_files(tmp_path / "log") == batch_files(undisturbed)
    assert letters(tmp_path / "log") == letters(undisturbed)
    assert replay(given) == replay(options(files, undisturbed, **SIZES))
