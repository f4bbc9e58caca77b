"""Frozen models, shortened runs, slices, and what a run has cost."""

from pathlib import Path

import pytest
from test_trainer import SPARSE, a_config, final_states, journal_of
from training_logs import a_spec, drifting_rows, write_log

from stream_prune.errors import ConfigError
from stream_prune.features import hash_string
from stream_prune.training.config import TrainingConfig
from stream_prune.training.trainer import Trainer


@pytest.fixture(scope="module")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_log(folder / "log", a_spec(multi=True), drifting_rows(2_400, seed=3))
    return folder / "log"


def trained(tmp_path: Path, log: Path, run: str, **values: object) -> tuple[TrainingConfig, dict]:
    config = a_config(tmp_path, run, log=str(log), **values)
    return config, Trainer(config).run()


def test_a_frozen_model_is_scored_to_the_end_and_never_changes(
    tmp_path: Path, log_folder: Path
) -> None:
    config, frozen = trained(tmp_path, log_folder, "frozen", learn_rows=900)
    _, online = trained(tmp_path, log_folder, "online")
    assert frozen["rows_scored"] == online["rows_scored"] == 2_400
    assert frozen["labelled"] == online["labelled"]
    assert 900 <= frozen["rows_learned"] < 1_100
    windows = [line for line in journal_of(config) if line["kind"] == "window"]
    assert len({line["rows_used"]["user"] for line in windows[-8:]}) == 1
    # The sign of x turns half-way, which only the model that goes on learning can follow.
    assert online["ne"] < frozen["ne"]


def test_a_run_that_ends_early_is_the_beginning_of_the_whole_one(
    tmp_path: Path, log_folder: Path
) -> None:
    short_config, short = trained(tmp_path, log_folder, "short", stop_rows=1_000)
    whole_config, _ = trained(tmp_path, log_folder, "whole")
    assert 1_000 <= short["rows_scored"] < 1_200
    short_lines, whole_lines = (
        [line for line in journal_of(each) if line["kind"] == "window"]
        for each in (short_config, whole_config)
    )
    assert short_lines == whole_lines[: len(short_lines)]
    assert Trainer(short_config).run()["ne"] == short["ne"]  # there is nothing left to do


@pytest.mark.parametrize("name", ["learn_rows", "stop_rows"])
def test_no_rows_are_no_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = 0: must be greater than 0"):
        a_config(tmp_path, **{name: 0})


def test_slices_of_any_categorical_column_have_figures_of_their_own(
    tmp_path: Path, log_folder: Path
) -> None:
    evaluation = {"every_windows": 4, "slices": {"item": ["i1", "i2"], "tags": [], "user": []}}
    config, summary = trained(tmp_path, log_folder, "sliced", evaluation=evaluation)
    items, tags = summary["slices"]["item"], summary["slices"]["tags"]
    assert set(items) == {"i1", "i2", "(other)"}
    assert sum(each["labelled"] for each in items.values()) == summary["labelled"]
    assert set(tags) == {f"id {hash_string(name)}" for name in ("t0", "t1")}
    assert sum(each["labelled"] for each in tags.values()) < 2 * summary["labelled"]
    assert 0 < items["i1"]["ne"] < 2
    lines = [line for line in journal_of(config) if line["kind"] == "slices"]
    labelled = [line["columns"]["item"]["i1"]["labelled"] for line in lines]
    assert labelled == sorted(labelled)
    assert len(labelled) > 2


def test_slices_survive_a_restart(tmp_path: Path, log_folder: Path) -> None:
    evaluation = {"slices": {"item": []}}
    config, summary = trained(tmp_path, log_folder, "again", evaluation=evaluation)
    assert Trainer(config).run()["slices"] == summary["slices"]
    assert "item/counts" in final_states(config)["slices"]


@pytest.mark.parametrize(
    ("slices", "message"),
    [({"colour": []}, "evaluation.slices.colour: no such categorical column")],
)
def test_slices_of_what_is_not_there_are_refused(
    tmp_path: Path, log_folder: Path, slices: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Trainer(a_config(tmp_path, log=str(log_folder), evaluation={"slices": slices}))


def test_a_run_tells_what_it_has_cost(tmp_path: Path, log_folder: Path) -> None:
    _, dense = trained(tmp_path, log_folder, "dense")
    _, sparse = trained(tmp_path, log_folder, "sparse", **SPARSE)
    lookups = dense["mean_lookups"]  # user, item, and from no to two tags
    assert 2 < lookups < 4
    whole = dense["mean_macs_training"] + 3 * 8 * lookups
    assert dense["mean_macs_training_with_lookups"] == pytest.approx(whole)
    whole = dense["mean_macs_inference"] + 8 * lookups
    assert dense["mean_macs_inference_with_lookups"] == pytest.approx(whole)
    assert dense["memory_bytes"]["dense"] == 4 * dense["parameters"]
    assert dense["memory_bytes"]["optimizer"] >= 2 * 4 * dense["parameters"]  # Adam's two moments
    assert sparse["memory_bytes"]["dense"] < dense["memory_bytes"]["dense"]
    assert sparse["memory_bytes"]["rows"] < dense["memory_bytes"]["rows"]
    assert dense["clock"]["checkpoint_bytes"] > dense["memory_bytes"]["dense"]
    assert dense["clock"]["peak_memory_bytes"] > 10_000_000
