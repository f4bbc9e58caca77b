from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clicks_csv import HEADER, START, lines, write_config, write_csv

from stream_prune.cli import main
from stream_prune.cli.main import run
from stream_prune.errors import RunError

Answer = tuple[int, str]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Exit code and what stands on stderr, which is never a traceback."""

    def answer(*arguments: object) -> Answer:
        code = run([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return code, error

    return answer


def test_an_unknown_key_is_a_configuration_error(tmp_path: Path, answer) -> None:
    config = write_config(tmp_path)
    code, error = answer("replay", config, "--set", "sparsitty.policy=ads")
    assert code == 2
    assert error == f"stream-prune: {config}: sparsitty: unknown key; did you mean 'sparsity'?\n"


def test_a_value_out_of_range_is_a_configuration_error(tmp_path: Path, answer) -> None:
    config = write_config(tmp_path)
    code, error = answer("replay", config, "--set", "sparsity.budget.macs=1.4")
    assert code == 2
    assert error == f"stream-prune: {config}: sparsity.budget.macs = 1.4: must be in (0, 1]\n"


def test_a_policys_parameter_out_of_range_names_file_and_key(tmp_path: Path, answer) -> None:
    write_csv(tmp_path / "events.csv", lines(100))
    config = write_config(
        tmp_path, sparsity={"budget": {"macs": 0.5}, "parameters": {"shrink_steps": 0}}
    )
    code, error = answer("replay", config)
    assert code == 2
    assert error.startswith(f"stream-prune: {config}: sparsity.parameters.shrink_steps = 0: ")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("tables.capacity={nobody: 9}", "tables.capacity.nobody"),
        ("device=cuda", "device = 'cuda'"),
        ("sparsity={budget: {macs: 0.5}, parameters: {regrow_density: 0.2}}", "regrow_density"),
        ("sparsity={budget: {macs: 0.9}}", "sparsity.parameters.regrow_density = 0.8"),
        ("sparsity={budget: {macs: 0.0001}}", "sparsity.budget.macs"),
        (
            "sparsity={budget: {macs: 1.0}, policy: dsl_units, parameters: {anneal_rows: 9}}",
            "sparsity.budget.macs = 1.0: must be below 1 for dsl_units",
        ),
        ("features.label_delay=-1h", "features.label_delay = '-1h'"),
        ("features=/nope.yaml", "features = /nope.yaml: no such file"),
    ],
)
def test_what_does_not_go_together_is_told_before_the_events_are_replayed(
    tmp_path: Path, answer, monkeypatch: pytest.MonkeyPatch, change: str, place: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_csv(tmp_path / "events.csv", lines(100))
    config = write_config(tmp_path)
    code, error = answer("replay", config, "--set", change)
    assert code == 2
    assert error.startswith(f"stream-prune: {config}: ")
    assert place in error
    assert "Errno" not in error
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "run").exists()


def test_a_feature_file_with_a_bad_delay_is_named_with_its_key(tmp_path: Path, answer) -> None:
    features = tmp_path / "features.yaml"
    features.write_text("{event_time: time, label: clicked, label_delay: 1 fortnight}")
    code, error = answer("replay", write_config(tmp_path), "--set", f"features={features}")
    assert code == 2
    assert f"{features}: features.label_delay = '1 fortnight': " in error


def test_a_training_that_goes_on_starts_its_progress_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "events.csv", lines(300))
    config = str(write_config(tmp_path))
    assert run(["replay", config]) == 0
    capsys.readouterr()
    assert run(["replay", config]) == 0
    said = capsys.readouterr().out
    assert "goes on from step " in said
    assert "after 300 rows" in said
    assert "300 rows (0 of them now)" in said


def test_a_model_above_its_budget_is_said_to_be(tmp_path: Path) -> None:
    from stream_prune.cli.artifacts import above_budget, build_artifact
    from stream_prune.cli.config import load
    from stream_prune.cli.publish import last_events

    write_csv(tmp_path / "events.csv", lines(200))
    budget = {"policy": "ads", "budget": {"macs": 0.3}, "parameters": {"warmup_rows": 100_000}}
    assert run(["replay", str(write_config(tmp_path, sparsity=budget))]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    example = last_events(load(tmp_path / "config.yaml"))
    told = above_budget(tmp_path / "run", build_artifact(tmp_path / "run", "clicks", example))
    assert told is not None
    dense = summary["dense_macs_inference"]
    assert f"{dense:,} MACs per example, the budget is {0.3 * dense:,.0f}" in told
    dense_run = ["--set", "sparsity=null", "--set", f"run={tmp_path}/dense"]
    assert run(["replay", str(tmp_path / "config.yaml"), *dense_run]) == 0
    dense_artifact = build_artifact(tmp_path / "dense", "clicks", example)
    assert above_budget(tmp_path / "dense", dense_artifact) is None


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    from serving.server import listen

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError) as error:
            listen("127.0.0.1", port)
    assert f"host 127.0.0.1, port {port}: " in str(error.value)
    assert "--port" in str(error.value)


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_package_of_the_command_line_is_told_in_one_line(package: str) -> None:
    program = (
        "import importlib.util as u; find = u.find_spec;"
        f"u.find_spec = lambda name, *a: None if name == {package!r} else find(name, *a);"
        "import stream_prune.cli.main"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install '.[stream,mlflow,serve]'" in done.stderr


def test_a_command_to_go_on_with_works_where_the_program_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stream_prune.cli.commands import program

    own = Path(sys.executable).with_name("stream-prune")
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == str(own)
    monkeypatch.setenv("PATH", str(own.parent))
    assert program() == "stream-prune"


def test_a_missing_column_is_named_with_its_file(tmp_path: Path, answer) -> None:
    events = write_csv(tmp_path / "events.csv", lines(10), HEADER.replace("item", "thing"))
    code, error = answer("replay", write_config(tmp_path))
    assert code == 2
    assert str(events) in error
    assert "'item'" in error
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path, answer) -> None:
    code, error = answer("replay", write_config(tmp_path))
    assert code == 2
    assert f"{tmp_path}/events.csv" in error


def test_an_unreadable_file_is_named(tmp_path: Path, answer) -> None:
    (tmp_path / "events.parquet").write_bytes(b"this is no Parquet file at all")
    config = write_config(tmp_path, source={"files": [f"{tmp_path}/events.parquet"]})
    code, error = answer("replay", config)
    assert code == 1
    assert f"{tmp_path}/events.parquet" in error


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (f"{START},7,1.0,20,u,i,de", "'7'"),
        ("yesterday,1,1.0,20,u,i,de", "'yesterday'"),
        (f"{START},1,cheap,20,u,i,de", "'cheap'"),
    ],
)
def test_a_bad_row_goes_to_the_dead_letters_with_row_and_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str, reason: str
) -> None:
    good = lines(400)
    write_csv(tmp_path / "events.csv", [*good[:200], bad, *good[200:]])
    assert run(["replay", str(write_config(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert "401 rows = 400 good + 0 late + 0 duplicates + 1 invalid" in said.replace("\n", " ")
    assert "dead_letters" in said
    events = json.loads((tmp_path / "run" / "summary.json").read_text())["events"]
    assert (events["rows"], events["good"], events["invalid"]) == (401, 400, 1)
    assert events["dead_letters"] == 1
    assert events["dead_letters_folder"] == f"{tmp_path}/log/dead_letters"
    assert f"1 dead letters in {tmp_path}/log/dead_letters" in said
    letters = "".join(p.read_text() for p in (tmp_path / "log" / "dead_letters").iterdir())
    assert letters.count("\n") == 1
    assert reason in letters
    assert '"offset": 200' in letters or '"offset":200' in letters


def test_too_many_bad_rows_stop_the_job(tmp_path: Path, answer) -> None:
    good = lines(400)
    bad = [line.replace(",1,", ",9,", 1) for line in good[:100]]
    write_csv(tmp_path / "events.csv", [*bad, *good[100:]])
    code, error = answer("replay", write_config(tmp_path))
    assert code == 1
    assert "max_bad_share" in error
    assert not (tmp_path / "run").exists()


def test_a_run_folder_of_another_configuration_is_refused(tmp_path: Path, answer) -> None:
    write_csv(tmp_path / "events.csv", lines(200))
    config = write_config(tmp_path)
    assert answer("replay", config)[0] == 0
    code, error = answer("replay", config, "--set", "model.dim=8")
    assert code == 2
    assert "model.dim = 8" in error
    assert str(tmp_path / "run") in error


def test_a_log_of_other_columns_is_refused(tmp_path: Path, answer) -> None:
    write_csv(tmp_path / "events.csv", lines(200))
    config = write_config(tmp_path)
    assert answer("replay", config)[0] == 0
    code, error = answer("replay", config, "--set", "features.categorical=[user, item]")
    assert code == 2
    assert f"{tmp_path}/log" in error
    assert "features.categorical" in error


def test_an_unexpected_error_is_told_in_one_line(
    tmp_path: Path, answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_prune.report.run.read_run", lambda _: 1 / 0)
    code, error = answer("report", tmp_path)
    assert code == 1
    assert error == (
        "stream-prune: unexpected ZeroDivisionError: division by zero: "
        "run again with --debug to see where\n"
    )


@pytest.mark.parametrize("place", [0, 2])
def test_debug_shows_the_traceback_wherever_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int
) -> None:
    arguments = ["report", str(tmp_path)]
    arguments.insert(place, "--debug")
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith(f"stream-prune: {tmp_path}: is no run folder")


def test_an_interrupt_ends_with_130_and_without_a_traceback(
    tmp_path: Path, answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stream_prune.report.run.read_run", interrupt)
    assert answer("report", tmp_path) == (130, "stream-prune: interrupted\n")


def test_a_wrong_option_is_a_usage_error(answer) -> None:
    code, error = answer("train", "--sett", "a=1")
    assert code == 2
    assert "--sett" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "."),
        ("pull", "name-without-alias", "x", "--tracking-uri", "sqlite:///x.db"),
        ("pull", "a@b", "x", "--tracking-uri", "ftp://x"),
        ("score", "no-such-artifact", "events.csv"),
        ("serve", "no-such-artifact"),
        ("serve", "models:/a@b"),
        ("datasets", "describe", "criteo"),
        ("train", "no-such-config.yaml"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    tmp_path: Path, answer, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code, error = answer(*arguments)
    assert code in (1, 2)
    assert len(error.splitlines()) == 1


def _can_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    done = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
    )
    return done.returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="this user may not mount a small file system")
@pytest.mark.parametrize("size_kb", [24, 600])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, size_kb: int) -> None:
    write_csv(tmp_path / "events.csv", lines(1_500))
    disk = tmp_path / "disk"
    disk.mkdir()
    changes = f"--set log={disk}/log --set run={disk}/run --set checkpoint.every_windows=1"
    config = write_config(tmp_path)
    program = f"{sys.executable} -c 'from {main.__name__} import main; main()'"
    script = (
        f"mount -t tmpfs -o size={size_kb}k tmpfs {disk} && {program} replay {config} {changes}"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert str(disk) in done.stderr
    assert len(done.stderr.splitlines()) == 1
