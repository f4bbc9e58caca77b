"""The journal's curves arrive in MLflow once, whatever is killed, cut back or away."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_prune.errors import RunError
from stream_prune.registry import journal_cursor, mlflow_sink
from stream_prune.registry.client import connect, mlflow_run
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.journal_cursor import Cursor, new_lines
from stream_prune.registry.mlflow_sink import MlflowSink

HOUR = 3_600_000


def window(step, **more):
    return {
        "run": "r",
        "step": step,
        "kind": "window",
        "window_end": step * HOUR,
        "ne": 1 / step,
        **more,
    }


def write(folder, lines, mode="w"):
    with (folder / "journal.jsonl").open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def curve(registry_config, name, run="r"):
    client = connect(registry_config)
    history = client.get_metric_history(mlflow_run(client, registry_config, run), name)
    return [(m.step, m.value, m.timestamp) for m in sorted(history, key=lambda m: m.step)]


def test_every_number_of_a_window_becomes_a_curve_at_its_step_and_event_time(
    tmp_path, registry_config
):
    line = window(2, rows_used={"user id": 7}, name="x", flag=True, auc=None, kept=[1, 2])
    write(tmp_path, [window(1), line])
    assert MlflowSink(tmp_path, registry_config).forward() == mlflow_sink.Forwarded(
        lines=2, metrics=3
    )
    assert curve(registry_config, "window/ne") == [(1, 1.0, HOUR), (2, 0.5, 2 * HOUR)]
    assert curve(registry_config, "window/rows_used/user id") == [(2, 7.0, 2 * HOUR)]
    client = connect(registry_config)
    assert set(client.get_run(mlflow_run(client, registry_config, "r")).data.metrics) == {
        "window/ne",
        "window/rows_used/user id",
    }


def test_lines_without_a_time_have_that_of_the_line_before_them(tmp_path, registry_config):
    write(
        tmp_path, [window(3), {"run": "r", "step": 3, "kind": "churn", "tables": {"a": {"in": 4}}}]
    )
    MlflowSink(tmp_path, registry_config).forward()
    assert curve(registry_config, "churn/tables/a/in") == [(3, 4.0, 3 * HOUR)]


def test_a_running_job_is_followed_and_its_half_written_line_waits(tmp_path, registry_config):
    sink = MlflowSink(tmp_path, registry_config)
    assert sink.forward().lines == 0  # the run has not begun
    write(tmp_path, [window(1)])
    half = json.dumps(window(2)) + "\n"
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(half[:20])
    assert sink.forward().lines == 1
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(half[20:])
    assert sink.forward().lines == 1
    assert sink.forward().lines == 0
    assert [step for step, _, _ in curve(registry_config, "window/ne")] == [1, 2]


def test_a_journal_cut_back_and_written_again_is_sent_once(tmp_path, registry_config):
    write(tmp_path, [window(s, clock={"seconds": 0.125 * s}) for s in range(1, 6)])
    MlflowSink(tmp_path, registry_config).forward()
    write(tmp_path, [window(s, clock={"seconds": 1.0 + s}) for s in range(1, 8)])
    assert MlflowSink(tmp_path, registry_config).forward().lines == 2
    assert [step for step, _, _ in curve(registry_config, "window/ne")] == [1, 2, 3, 4, 5, 6, 7]
    assert [v for _, v, _ in curve(registry_config, "window/clock/seconds")][:5] == [
        0.125 * s for s in range(1, 6)
    ]


def test_a_sink_killed_before_it_stored_its_cursor_repeats_without_a_trace(
    tmp_path, registry_config, monkeypatch
):
    write(tmp_path, [window(s) for s in range(1, 4)])

    def killed(cursor, path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Cursor, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            MlflowSink(tmp_path, registry_config).forward()
    before = curve(registry_config, "window/ne")
    assert MlflowSink(tmp_path, registry_config).forward().lines == 3
    assert curve(registry_config, "window/ne") == before
    assert len(before) == 3


def test_many_metrics_go_in_batches_that_mlflow_takes(tmp_path, registry_config):
    write(tmp_path, [window(s, many={f"m{i}": i for i in range(600)}) for s in (1, 2, 3)])
    wide = window(4, many={f"m{i}": i for i in range(2500)})
    write(tmp_path, [wide], mode="a")
    assert MlflowSink(tmp_path, registry_config).forward().metrics == 3 * 601 + 2501
    assert [step for step, _, _ in curve(registry_config, "window/many/m0")] == [1, 2, 3, 4]


def test_a_registry_that_is_away_is_caught_up_with_later(tmp_path, registry_config, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    write(tmp_path, [window(1)])
    away = replace(registry_config, tracking_uri="http://127.0.0.1:9")
    done = MlflowSink(tmp_path, away).forward()
    assert done.lines == 0
    assert "http://127.0.0.1:9: connecting to MLflow failed" in done.failure
    assert MlflowSink(tmp_path, registry_config).forward() == mlflow_sink.Forwarded(1, 1, None)


def test_a_failure_in_the_middle_keeps_what_was_sent(tmp_path, registry_config, monkeypatch):
    write(tmp_path, [window(s, many={f"m{i}": i for i in range(900)}) for s in (1, 2, 3)])
    sink = MlflowSink(tmp_path, registry_config)
    send, calls = MlflowSink._send, []

    def once(self, lines):
        calls.append(lines)
        if len(calls) == 2:
            raise RunError("gone")
        return send(self, lines)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowSink, "_send", once)
        assert sink.forward() == mlflow_sink.Forwarded(1, 901, "gone")
    assert sink.forward().lines == 2


def test_the_end_of_a_run_ends_it_in_mlflow(tmp_path, registry_config):
    client = connect(registry_config)
    write(tmp_path, [{"run": "r", "step": 0, "kind": "start", "config": {"seed": 1}}, window(1)])
    MlflowSink(tmp_path, registry_config).forward()
    assert client.get_run(mlflow_run(client, registry_config, "r")).info.status == "RUNNING"
    write(tmp_path, [{"run": "r", "step": 2, "kind": "end", "ne": 0.5}], mode="a")
    MlflowSink(tmp_path, registry_config).forward()
    assert client.get_run(mlflow_run(client, registry_config, "r")).info.status == "FINISHED"
    assert curve(registry_config, "end/ne") == [(2, 0.5, HOUR)]
    assert curve(registry_config, "start/config/seed") == []


@pytest.mark.parametrize(
    "line", ["nonsense\n", '{"step": 1}\n', "[1]\n", '{"run": "r", "kind": "a", "step": null}\n']
)
def test_a_journal_that_is_none_is_named(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    path.write_text(line)
    with pytest.raises(RunError, match=r"journal\.jsonl: is no journal"):
        list(new_lines(path, Cursor("t")))


def test_a_journal_that_cannot_be_read_is_named(tmp_path, registry_config):
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RunError, match=r"journal\.jsonl: cannot be read"):
        MlflowSink(tmp_path, registry_config).forward()


def test_a_run_whose_folder_is_not_there_yet_has_sent_nothing(tmp_path, registry_config):
    assert MlflowSink(tmp_path / "later", registry_config).forward() == mlflow_sink.Forwarded()


def test_another_registry_gets_all_of_it(tmp_path):
    Cursor("one", {"r window": 3}, 10, 5, "ab").write(tmp_path / "c")
    assert Cursor.read(tmp_path / "c", "one").steps == {"r window": 3}
    assert Cursor.read(tmp_path / "c", "two") == Cursor("two")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_history_of_kills_and_forwards_sends_every_line_once(tmp_path, data):
    """The writer appends, or is cut back to a checkpoint and goes on; the reader reads at times."""
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    cursor, sent, lines, version = Cursor("t"), [], [], 0
    for _ in range(data.draw(st.integers(1, 12), "actions")):
        action = data.draw(st.sampled_from(["append", "cut", "forward"]), "action")
        if action == "append":
            lines.append(window(len(lines) + 1, clock=10**version))
        elif action == "cut" and lines:
            del lines[data.draw(st.integers(0, len(lines)), "kept") :]
            version += 1  # clocks differ, so lines have other lengths
        write(tmp_path, lines)
        if action == "forward":
            for line in new_lines(path, cursor):
                sent.append(line.record["step"])
                cursor = line.after
    sent += [line.record["step"] for line in new_lines(path, cursor)]
    assert sent == list(range(1, max([*sent, 0]) + 1))
    assert max([*sent, 0]) >= len(lines)
    assert journal_cursor.Cursor(**vars(cursor)) == cursor


def test_a_process_that_only_forwards_curves_says_nothing_of_mlflows_own(tmp_path):
    write(tmp_path, [window(1)])
    config = RegistryConfig(f"sqlite:///{tmp_path}/mlflow.db", model="m")
    program = f"""
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.mlflow_sink import MlflowSink
assert MlflowSink({str(tmp_path)!r}, RegistryConfig(**{asdict(config)!r})).forward().lines == 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
