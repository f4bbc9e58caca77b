import json
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.errors import ConfigError, RunError
from stream_prune.evaluation.prequential import Prequential
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.reader import windows
from stream_prune.stateful import State
from stream_prune.training.build import build, part_seed
from stream_prune.training.checkpoint import read_states
from stream_prune.training.config import TrainingConfig
from stream_prune.training.journal import read
from stream_prune.training.trainer import Trainer

SPARSE = {
    "sparsity": {
        "budget": {
            "macs": 0.5,
            "rows": 0.5,
            "min_units": 4,
            "round_to": 4,
            "whole_tables_below": 50,
        },
        "parameters": {
            "warmup_rows": 600,
            "settle_windows": 1,
            "regrow_density": 0.8,
            "regrow_windows": 1,
            "regrow_steps": 1,
        },
        "window_rows": 200,
    },
    "drift": {"slice_rows": 32, "cooldown_rows": 256, "parameters": {"h": 4.0, "burn_in": 6}},
}


def a_config(tmp_path: Path, run: str = "run", **values: Any) -> TrainingConfig:
    base = {
        "run": str(tmp_path / run),
        "log": str(tmp_path / "log"),
        "model": {"dim": 8, "bottom": [16], "top": [32, 16]},
        "optimizer": {"lr": 0.005, "rows_lr": 0.1},
        "tables": {"default_capacity": 200, "half_life": 500.0},
        "evaluation": {"every_windows": 4, "sliding_rows": 500, "warmup_rows": 600},
        "checkpoint": {"every_windows": 7},
        "device": "cpu",
    }
    return TrainingConfig.from_dict(base | values)


def final_states(config: TrainingConfig) -> dict[str, State]:
    states = read_states(max((config.run / "checkpoints").iterdir()))
    del states["clock"]
    return states


def journal_of(config: TrainingConfig) -> list[dict[str, Any]]:
    """Every line but for wall-clock times and places."""
    lines = [
        {key: value for key, value in line.items() if key not in ("clock", "run")}
        for line in read(config.run / "journal.jsonl")
    ]
    for name in ("run", "checkpoint", "follow"):
        del lines[0]["config"][name]
    return lines


def assert_same_bits(left: dict[str, State], right: dict[str, State]) -> None:
    assert left.keys() == right.keys()
    for part, state in left.items():
        assert state.keys() == right[part].keys()
        for key, value in state.items():
            other = right[part][key]
            if (part, key) == ("journal", "position"):
                continue  # clock times take more or fewer digits
            if isinstance(value, torch.Tensor):
                assert isinstance(other, torch.Tensor)
                same = value.dtype == other.dtype and torch.equal(value, other)
                assert same, f"{part}/{key} differs"
            else:
                assert repr(value) == repr(other), f"{part}/{key} differs"


def test_scoring_and_learning_follow_the_definition_of_delayed_labels(tmp_path: Path):
    """A window's scores come from a model that learned exactly the windows known by its start."""
    log = write_log(tmp_path / "log", a_spec(delay_ms=2 * HOUR), drifting_rows(1500))
    config = a_config(tmp_path)
    summary = Trainer(config).run()

    torch.manual_seed(part_seed(config.seed, "training"))
    learner = build(config, log.spec)
    judge = Prequential()
    found = list(windows(log))
    loaded = [[log.read(name, ref, log.spec) for name, ref in w.batches] for w in found]
    learned = 0
    records = []
    waiting: list[np.ndarray] = []

    def learn_one() -> None:
        nonlocal learned
        labels = np.concatenate([batch.label for batch in loaded[learned]])
        records.append(judge.add(labels, waiting[learned]))
        for batch in loaded[learned]:
            learner.learn(batch.take(batch.labelled))
        learner.end_window()
        learned += 1

    for window, batches in zip(found, loaded, strict=True):
        while found[learned].end + 2 * HOUR <= window.start:
            learn_one()
        waiting.append(np.concatenate([learner.score(batch) for batch in batches]))
    while learned < len(found):
        learn_one()

    lines = [line for line in journal_of(config) if line["kind"] == "window"]
    assert [line["ne"] for line in lines] == [record["ne"] for record in records]
    assert summary["ne"] == judge.summary()["ne"]
    head = final_states(config)["head"]
    for name, value in learner.head.state_dict().items():
        assert torch.equal(head[name], value)


def test_a_sparse_run_shrinks_answers_the_drift_and_tells_what_it_cost(tmp_path: Path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(6000, hours=48))
    config = a_config(tmp_path, **SPARSE)
    summary = Trainer(config).run()
    kinds = [line["kind"] for line in journal_of(config)]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert {"window", "shrink", "churn", "drift", "grow"} <= set(kinds)
    assert summary["macs_inference"] <= 0.5 * summary["dense_macs_inference"]
    mean = summary["mean_macs_inference_after_warmup"]
    assert summary["macs_inference"] <= mean < summary["dense_macs_inference"]
    assert summary["max_rows_capacity_share"] == pytest.approx(0.5)
    assert 0 < summary["max_rows_used_share"] <= summary["max_rows_capacity_share"]
    assert summary["shrinks"] >= 4
    assert summary["drift_alarms"] == kinds.count("drift")
    assert summary["rows_learned"] + summary["rows_unlabelled"] == summary["rows_scored"] == 6000
    assert summary["ne"] < 1
    assert summary["pending_windows"] == 0
    assert json.loads((config.run / "summary.json").read_text())["ne"] == summary["ne"]


def test_journal_lines_have_unique_keys(tmp_path: Path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(3000))
    config = a_config(tmp_path, **SPARSE)
    Trainer(config).run()
    keys = [
        (line["run"], line["step"], line["kind"]) for line in read(config.run / "journal.jsonl")
    ]
    assert len(set(keys)) == len(keys)
    assert {key[0] for key in keys} == {"run"}


def test_saving_changes_nothing(tmp_path: Path):
    write_log(tmp_path / "log", a_spec(multi=True), drifting_rows(3000))
    often = a_config(tmp_path, "often", checkpoint={"every_windows": 1}, **SPARSE)
    never = a_config(tmp_path, "never", checkpoint={"every_windows": 10_000}, **SPARSE)
    for config in (often, never):
        Trainer(config).run()
    assert_same_bits(final_states(often), final_states(never))
    assert journal_of(often) == journal_of(never)


@pytest.mark.parametrize("values", [{}, SPARSE], ids=["dense", "sparse"])
def test_a_run_that_waits_for_more_of_the_log_ends_like_one_that_had_it_all(tmp_path, values):
    spec, rows = a_spec(), drifting_rows(3000)
    write_log(tmp_path / "log", spec, rows)
    whole = a_config(tmp_path, "whole", **values)
    Trainer(whole).run()

    parts = a_config(tmp_path, "parts", **values)
    parts = replace(parts, log=tmp_path / "growing")
    for hours in (5, 6, 15, None):
        until = None if hours is None else (400 + hours) * HOUR
        write_log(parts.log, spec, rows, until=until)
        Trainer(parts).run()
    assert_same_bits(final_states(whole), final_states(parts))
    expected, found = journal_of(whole), journal_of(parts)
    del expected[0]["config"]["log"], found[0]["config"]["log"]
    assert found == expected


def test_a_run_follows_a_log_that_is_being_written(tmp_path: Path):
    spec, rows = a_spec(), drifting_rows(1500)
    write_log(tmp_path / "log", spec, rows)
    config = a_config(tmp_path, "whole")
    Trainer(config).run()

    growing = tmp_path / "growing"
    write_log(growing, spec, rows, until=404 * HOUR)
    following = replace(a_config(tmp_path, "following", follow=True), log=growing)
    seen = threading.Event()
    result: list[dict] = []
    trainer = Trainer(following, on_window=lambda _: seen.set())
    thread = threading.Thread(target=lambda: result.append(trainer.run()))
    thread.start()
    assert seen.wait(timeout=30)
    write_log(growing, spec, rows)
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert_same_bits(final_states(config), final_states(following))


def test_an_unlabelled_row_is_scored_and_never_learned(tmp_path: Path):
    spec, rows = a_spec(), drifting_rows(1000)
    write_log(tmp_path / "log", spec, rows)
    other = dict(
        rows,
        user=[
            user if click is not None else "somebody else"
            for user, click in zip(rows["user"], rows["click"], strict=True)
        ],
    )
    write_log(tmp_path / "other", spec, other)
    config = a_config(tmp_path)
    summary = Trainer(config).run()
    changed = replace(config, run=tmp_path / "run2", log=tmp_path / "other")
    Trainer(changed).run()
    assert summary["rows_unlabelled"] == rows["click"].count(None) > 10
    assert summary["rows_scored"] == 1000
    states, other_states = final_states(config), final_states(changed)
    for part in ("cursors", "journal"):  # they name the log's own bytes
        del states[part], other_states[part]
    assert_same_bits(states, other_states)


def test_a_window_without_rows_or_without_labels_is_no_obstacle(tmp_path: Path):
    rows = drifting_rows(400, hours=12)
    keep = [i for i, t in enumerate(rows["time"]) if not 404 <= t // HOUR < 407]
    rows = {name: [values[i] for i in keep] for name, values in rows.items()}
    rows["click"] = [
        None if t // HOUR == 409 else click
        for click, t in zip(rows["click"], rows["time"], strict=True)
    ]
    write_log(tmp_path / "log", a_spec(), rows)
    summary = Trainer(a_config(tmp_path)).run()
    assert summary["empty_windows"] == 3
    assert summary["windows"] == 12
    assert summary["rows_scored"] == len(rows["time"])


def test_a_damaged_checkpoint_costs_time_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_log(tmp_path / "log", a_spec(), drifting_rows(1500))
    whole, hurt = (a_config(tmp_path, run, **SPARSE) for run in ("whole", "hurt"))
    for config in (whole, hurt):
        Trainer(config).run()
    newest = max((hurt.run / "checkpoints").iterdir())
    content = (newest / "state.safetensors").read_bytes()
    (newest / "state.safetensors").write_bytes(content[:-10])
    Trainer(hurt).run()
    assert f"{newest.name}/state.safetensors: differs from its digest" in caplog.text
    assert_same_bits(final_states(whole), final_states(hurt))
    assert journal_of(hurt) == journal_of(whole)


def test_a_resumed_run_unpickles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec, rows = a_spec(), drifting_rows(1500)
    write_log(tmp_path / "log", spec, rows, until=412 * HOUR)
    config = a_config(tmp_path, **SPARSE)
    Trainer(config).run()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was loaded")

    write_log(tmp_path / "log", spec, rows)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    assert Trainer(config).run()["rows_scored"] == 1500


def test_a_run_cannot_be_resumed_with_another_configuration(tmp_path: Path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(300))
    config = a_config(tmp_path)
    Trainer(config).run()
    other = replace(config, optimizer=replace(config.optimizer, lr=0.5))
    with pytest.raises(ConfigError, match=r"optimizer\.lr = 0\.5: .* started with 0\.005"):
        Trainer(other).run()
    Trainer(replace(config, checkpoint=replace(config.checkpoint, keep=1))).run()


@pytest.mark.parametrize("until", [None, 405 * HOUR])
def test_a_run_cannot_go_on_with_another_log(tmp_path: Path, until: int | None):
    write_log(tmp_path / "log", a_spec(), drifting_rows(600))
    write_log(tmp_path / "other", a_spec(), drifting_rows(600, seed=1), until=until)
    config = a_config(tmp_path)
    Trainer(config).run()
    with pytest.raises(RunError, match="another log"):
        Trainer(replace(config, log=tmp_path / "other")).run()


def test_a_damaged_batch_stops_the_run_with_its_name(tmp_path: Path):
    log = write_log(tmp_path / "log", a_spec(), drifting_rows(600))
    assert isinstance(log, FolderLog)
    batch = sorted((tmp_path / "log" / "batches").iterdir())[5]
    batch.chmod(0o644)
    content = bytearray(batch.read_bytes())
    content[len(content) // 2] ^= 1
    batch.write_bytes(content)
    with pytest.raises(RunError, match=batch.name):
        Trainer(a_config(tmp_path)).run()
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]


def test_a_model_that_diverges_stops_the_run(tmp_path: Path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(1000))
    config = a_config(tmp_path, optimizer={"lr": 1e25, "rows_lr": 1e25})
    with pytest.raises(RunError, match=r"window \d+: scores are not finite.*lower optimizer\.lr"):
        Trainer(config).run()


def test_a_capacity_for_an_unknown_column_is_refused(tmp_path: Path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(100))
    config = a_config(tmp_path, tables={"capacity": {"usr": 5}})
    message = r"tables\.capacity\.usr: no such categorical column; there are: user, item"
    with pytest.raises(ConfigError, match=message):
        Trainer(config)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_parts_are_seeded_apart(tmp_path: Path, optimizer: str):
    spec = a_spec()
    dense = a_config(tmp_path, optimizer={"name": optimizer})
    sparse = a_config(tmp_path, optimizer={"name": optimizer}, **SPARSE)
    first, second = build(dense, spec), build(sparse, spec)
    for left, right in zip(first.head.parameters(), second.head.parameters(), strict=True):
        assert torch.equal(left, right)
    other = build(replace(dense, seed=1), spec)
    assert not torch.equal(next(first.head.parameters()), next(other.head.parameters()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_agrees_with_one_on_the_cpu(tmp_path: Path):
    write_log(tmp_path / "log", a_spec(multi=True), drifting_rows(3000))
    cpu = Trainer(a_config(tmp_path, "cpu", **SPARSE)).run()
    config = replace(a_config(tmp_path, "gpu", **SPARSE), device="cuda")
    gpu = Trainer(config).run()
    assert gpu["device"] == "cuda"
    assert gpu["ne"] == pytest.approx(cpu["ne"], rel=0.02)
    assert Trainer(config).run()["ne"] == gpu["ne"]
