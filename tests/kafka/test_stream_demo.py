"""The whole loop, small and without a terminal: it serves what it trained, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_broker import folder_for_a_broker

ROOT = Path(__file__).parents[2]
SECONDS = 480.0
SMALL = (
    *("produce.log.rows=3000", "produce.speed=null", "produce.rate=600"),
    *("model.bottom=[16]", "model.top=[16]", "model.dim=4", "sparsity=null", "drift=null"),
    *(
        "checkpoint.every_windows=2",
        "publish.every_windows=2",
        "tables.default_capacity=256",
        "windows.out_of_orderness=0s",
    ),
)


def processes_of(folder: Path) -> dict[int, str]:
    """Process id -> command line of everything that names the folder."""
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdecimal() and int(place.name) != os.getpid():
            try:
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in command:
                found[int(place.name)] = command
    return found


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder; what still runs in it after the test is ended."""
    folder = folder_for_a_broker(tmp_path_factory)
    yield folder
    for pid in processes_of(folder):
        os.kill(pid, signal.SIGKILL)


def test_the_demo_serves_what_it_trained_and_ctrl_c_leaves_nothing_running(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    data = request.config.cache.mkdir("flights")
    changes = [f"--set={change}" for change in (*SMALL, f"produce.log.folder={data}")]
    program = str(Path(sys.executable).with_name("stream-prune"))
    command = [program, "stream-demo", "configs/stream.yaml", *changes]
    output = folder / "demo.txt"
    with output.open("wb") as file:
        demo = subprocess.Popen(
            [*command, "--folder", str(folder / "demo")],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + SECONDS
    while "serving version" not in output.read_text():
        assert demo.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
    started = processes_of(folder)
    parts = ("kafka.Kafka", "stream-prune stream ", "stream-prune train ", "mlflow", " serve ")
    for part in parts:
        assert any(part in command for command in started.values()), (part, started)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(120) == 0, output.read_text()
    deadline = time.monotonic() + 20
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_of(folder)
    said = output.read_text()
    assert "report: stream-prune report" in said
    assert "Traceback" not in said
    run = next((folder / "demo").glob("*/run"))
    assert (run / "journal.jsonl").stat().st_size > 0


def test_a_job_with_a_broker_of_its_own_says_where_it_is_and_takes_it_along(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    data = request.config.cache.mkdir("flights")
    places = (f"run={folder}/runs/one", f"log={folder}/log", f"produce.log.folder={data}")
    changes = [f"--set={change}" for change in (*SMALL, *places)]
    program, output = str(Path(sys.executable).with_name("stream-prune")), folder / "stream.txt"
    command = [program, "stream", "configs/stream.yaml", "--local-kafka", *changes]
    with output.open("wb") as file:
        job = subprocess.Popen(
            [*command, "--alive", str(folder / "alive")],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + SECONDS
    while not (folder / "alive").exists():  # the first micro-epoch is done
        assert job.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
    told = re.search(r"a Kafka broker is at (\S+);", output.read_text())
    assert told is not None, output.read_text()
    change = f"--set=source.kafka.bootstrap={told[1]}"
    done = subprocess.run(
        [program, "produce", "configs/stream.yaml", *changes, change, "--set=produce.rate=null"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    while not list((folder / "log").rglob("*.arrow")):
        assert job.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 0, output.read_text()
    assert not processes_of(folder)
