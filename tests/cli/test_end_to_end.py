"""As a user would: the commands, one after another, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("stream-prune")
ROWS = 5_000


def call(*arguments: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"},
    )
    assert "Traceback" not in done.stderr
    if ok:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick start's own files, with the policies' warm-up moved into the slice."""
    folder = tmp_path_factory.mktemp("configs")
    for path in (ROOT / "configs" / "quickstart").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(warmup_rows:) \d+", r"\1 1500", text)
        text = re.sub(r"(window_rows:) \d+", r"\1 500", text)
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart") / "q"


@pytest.fixture(scope="module")
def said(folder: Path, configs: Path) -> str:
    """What the quick start prints."""
    return call("quickstart", "--rows", ROWS, "--folder", folder, "--configs", configs).stdout


def test_the_quick_start_compares_four_runs_in_one_table(said: str, folder: Path) -> None:
    rows = {
        line.split()[0]: line.split()[1:]
        for line in said.splitlines()
        if re.match(r"(dense|small_dense|static|adaptive)\s+\d", line)
    }
    assert list(rows) == ["dense", "small_dense", "static", "adaptive"]
    for name, cells in rows.items():
        assert len(cells) == 9
        summary = json.loads((folder / "runs" / name / "summary.json").read_text())
        assert cells[0] == f"{summary['ne']:.4f}"
        assert cells[3] == f"{sum(summary['rows_used'].values()):,}"
        assert float(cells[-1]) > 0
    parameters = {name: int(cells[2].replace(",", "")) for name, cells in rows.items()}
    assert parameters["adaptive"] < parameters["dense"]
    assert parameters["static"] < parameters["dense"]


def test_the_quick_start_shows_progress_and_says_what_became_of_every_row(said: str) -> None:
    assert f"{ROWS:,} rows = {ROWS:,} good + 0 late" in said
    for step in ("1/5", "2/5", "3/5", "4/5", "5/5", "train ", "replay into"):
        assert step in said


def test_a_runs_summary_says_what_became_of_every_row(said: str, folder: Path) -> None:
    assert f"Events:   {ROWS:,} rows = {ROWS:,} good + 0 late" in said
    for name in ("dense", "adaptive"):
        events = json.loads((folder / "runs" / name / "summary.json").read_text())["events"]
        assert events["rows"] == events["good"] == ROWS
        assert events["unlabelled"] > 0
        assert events["dead_letters"] == 0


def test_the_quick_start_ends_with_the_address_of_its_runs(said: str, folder: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    version = client.get_model_version_by_alias("flights", "champion")
    experiment = client.get_run(version.run_id).info.experiment_id
    assert f"/#/experiments/{experiment}/runs\n" in said
    command = next(line for line in said.splitlines() if " ui --backend" in line).split()[1]
    assert shutil.which(command) is not None


def test_the_examples_of_the_help_name_what_a_quick_start_leaves(said: str, folder: Path) -> None:
    named = set()
    for command in ("train", "publish", "pull", "score", "serve", "events", "report"):
        named |= set(re.findall(r"runs/quickstart/(\S+)", call(command, "--help").stdout))
    assert {"models/flights/1", "data/flights.parquet", "mlflow.db"} <= named
    for path in named - {"data/flights.parquet"}:  # of all rows; a slice's name has its length
        assert any(folder.glob(path)), path


def test_the_decisions_of_a_run_are_shown_with_their_plans(said: str, folder: Path) -> None:
    table = call("events", folder / "runs" / "adaptive").stdout
    summary = json.loads((folder / "runs" / "adaptive" / "summary.json").read_text())
    assert summary["shrinks"] >= 4
    assert len(re.findall(r"^ *\d.* shrink .*→", table, re.MULTILINE)) == summary["shrinks"]
    assert re.search(r"^    units: .*top\.0 512 → \d", table, re.MULTILINE)


def test_the_report_is_there_with_all_four_runs(said: str, folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    for name in ("dense", "small_dense", "static", "adaptive"):
        assert f'<th scope="row">{name}</th>' in page


def test_the_published_version_is_the_adaptive_runs(said: str, folder: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    version = client.get_model_version_by_alias("flights", "champion")
    assert version.tags["stream_prune.run"] == "adaptive"
    metrics = client.get_run(version.run_id).data.metrics
    summary = json.loads((folder / "runs" / "adaptive" / "summary.json").read_text())
    assert metrics["end/ne"] == summary["ne"]  # the curves are in MLflow too


def test_the_last_events_are_scored(said: str, folder: Path) -> None:
    scores = pq.read_table(folder / "scores.parquet").column("score").to_numpy()
    assert len(scores) == 1_000
    assert np.all((scores > 0) & (scores < 1))
    assert scores.std() > 0


def test_the_commands_that_the_quick_start_ends_with_are_exact(said: str, folder: Path) -> None:
    command = next(line for line in said.splitlines() if " score " in line).split()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = pq.read_table(folder / "scores.parquet").column("score").to_numpy()[-5:]
    np.testing.assert_allclose([float(v) for v in done.stdout.split()], expected, atol=1e-6)


def test_a_second_quick_start_changes_no_figure(said: str, folder: Path, configs: Path) -> None:
    before = (folder / "runs" / "adaptive" / "journal.jsonl").read_bytes()
    again = call("quickstart", "--rows", ROWS, "--folder", folder, "--configs", configs).stdout
    after = (folder / "runs" / "adaptive" / "journal.jsonl").read_bytes()
    windows = [line for line in before.splitlines() if b'"kind": "window"' in line]
    assert [line for line in after.splitlines() if b'"kind": "window"' in line] == windows
    assert "flights version 1" in again


def test_a_pulled_model_is_verified_and_scores_csv_like_parquet(
    said: str, folder: Path, tmp_path: Path
) -> None:
    import pyarrow.csv

    uri = f"sqlite:///{folder}/mlflow.db"
    pulled = call("pull", "flights@champion", tmp_path, "--tracking-uri", uri).stdout
    artifact = tmp_path / "flights" / "1"
    assert f"{artifact}: version 1, verified" in pulled
    events = pq.read_table(folder / "scores.parquet").drop_columns(["score"])
    pyarrow.csv.write_csv(events.slice(0, 50), tmp_path / "events.csv")
    call("score", artifact, tmp_path / "events.csv", "-o", tmp_path / "scores.csv")
    scores = pyarrow.csv.read_csv(tmp_path / "scores.csv").column("score").to_numpy()
    expected = pq.read_table(folder / "scores.parquet").column("score").to_numpy()[:50]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    with (artifact / "head.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    done = call("score", artifact, tmp_path / "events.csv", ok=False)
    assert done.returncode == 1
    assert "head.safetensors" in done.stderr


def test_publishing_again_publishes_nothing_new(said: str, folder: Path) -> None:
    done = call("publish", folder / "runs" / "adaptive")
    assert "flights version 1, alias champion" in done.stdout


def test_versions_are_listed_and_promoted_by_hand(said: str, folder: Path) -> None:
    run = folder / "runs" / "adaptive"
    listed = call("list", run).stdout
    assert re.search(r"^1 +adaptive +\d+ .* @candidate, @champion, champion since", listed, re.M)
    uri = f"sqlite:///{folder}/mlflow.db"
    assert "version 1, verified" in call("promote", "flights", "1", "--tracking-uri", uri).stdout
    done = call("rollback", run, ok=False)
    assert done.returncode == 1
    assert "no champion before version 1 is left to roll back to" in done.stderr


def test_a_killed_training_goes_on_to_the_same_figures(
    said: str, folder: Path, configs: Path, tmp_path: Path
) -> None:
    changes = [f"run={tmp_path}/run", f"log={folder}/log", "registry=null"]
    changes.append("checkpoint.every_windows=2")
    arguments = ["train", str(configs / "adaptive.yaml"), *(f"--set={c}" for c in changes)]
    process = subprocess.Popen(
        [str(PROGRAM), *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not any((tmp_path / "run" / "checkpoints").glob("0*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    call(*arguments)
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    expected = json.loads((folder / "runs" / "adaptive" / "summary.json").read_text())
    for summary in (found, expected):
        del summary["clock"], summary["run"]
    assert found["events"]["rows"] == ROWS
    assert found == expected


def test_a_served_model_answers_and_ends_on_sigterm(
    said: str, folder: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"sqlite:///{folder}/mlflow.db"
    arguments = ["serve", "models:/flights@champion", "--tracking-uri", uri, "--port", str(port)]
    process = subprocess.Popen(
        [str(PROGRAM), *arguments, "--cache", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/v2/health/ready", process)
        assert process.stdout is not None
        tried = next(line for line in process.stdout if line.startswith("try: "))
        answer = subprocess.run(
            tried.removeprefix("try: "), shell=True, capture_output=True, text=True, check=True
        )
        score = json.loads(answer.stdout)["outputs"][0]["data"][0]
        assert 0 < score < 1
    finally:
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in error


if shutil.which("curl") is None:
    test_a_served_model_answers_and_ends_on_sigterm = pytest.mark.skip(reason="no curl here")(
        test_a_served_model_answers_and_ends_on_sigterm
    )


def _wait_until_ready(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not get ready")


def test_help_is_instant_and_shows_a_working_example() -> None:
    started = time.monotonic()
    said = call("--help").stdout
    seconds = time.monotonic() - started
    assert seconds < 2  # 0.1 s on an idle machine
    commands = re.findall(r"^  ([\w-]+)  ", said.partition("Commands:")[2], re.MULTILINE)
    assert set(commands) >= {
        *("quickstart", "replay", "train", "publish", "pull", "list", "promote", "rollback"),
        *("score", "serve", "events", "report", "datasets"),
    }
    for command in commands:
        if command != "datasets":
            assert f"    stream-prune {command}" in call(command, "--help").stdout


def test_starting_the_command_line_imports_nothing_heavy() -> None:
    program = (
        "import sys, stream_prune.cli.main;"
        "print([m for m in ('torch', 'apache_beam', 'mlflow', 'pydantic', 'numpy', 'pyarrow')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
