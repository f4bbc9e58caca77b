"""Detectors by name, votes, and label-free monitors, as a configuration names them."""

from pathlib import Path
from typing import Any

import pytest
from test_trainer import SPARSE, a_config, final_states, journal_of
from training_logs import a_spec, drifting_rows, write_log

from stream_prune.drift import Kswin, Vote
from stream_prune.errors import ConfigError
from stream_prune.training.config import TrainingConfig
from stream_prune.training.dataclass_reader import read
from stream_prune.training.drift_config import DETECTORS, DriftConfig
from stream_prune.training.trainer import Trainer


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "vote"])
def test_every_detector_can_be_named(name: str) -> None:
    assert read(DriftConfig, {"detector": name}).build_monitor().detector is not None


def test_a_vote_names_its_voters_with_their_settings() -> None:
    voters = {"detectors": {"cusum": None, "kswin": {"alpha": 0.01}}, "need": 1, "within": 3}
    config = read(DriftConfig, {"detector": "vote", "parameters": voters})
    vote = config.build_monitor().detector
    assert isinstance(vote, Vote)
    assert (len(vote.detectors), vote.need, vote.within) == (2, 1, 3)
    assert isinstance(vote.detectors[1], Kswin)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"detector": "vote"}, "parameters.detectors: must name the voters"),
        ({"detector": "cusun"}, "detector = 'cusun': must be one of"),
        ({"parameters": {"height": 1}}, "parameters.height: unknown key; known are"),
        ({"inputs": {"labels": {}}}, "inputs = 'labels': must be one of dense, ids, scores"),
        ({"inputs": {"ids": {"memory": 0}}}, "memory = 0"),
        ({"need": 2}, "need = 2"),
        ({"residuals": {"alpha": 0}}, "alpha = 0"),
        ({"residuals": {}, "need": 3}, r"need = 3 must be in \[1, 2\]"),
    ],
)
def test_what_cannot_be_is_told(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(DriftConfig, values)


def trained(
    folder: Path, run: str, drift: dict[str, Any], stop: int | None = None
) -> TrainingConfig:
    """A run, killed before so many windows if asked to and taken up again."""
    values = {**SPARSE, "drift": drift}
    config = a_config(folder, run, checkpoint={"every_windows": 3}, **values)
    trainer = Trainer(config)
    if stop is None:
        trainer.run()
        return config
    windows = 0

    def count(_: object) -> None:
        nonlocal windows
        windows += 1
        if windows == stop:
            raise KeyboardInterrupt

    trainer._on_window = count
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    return trained(folder, run, drift)


def test_a_run_hears_its_residuals_and_goes_on_alike_after_a_restart(tmp_path: Path) -> None:
    write_log(tmp_path / "log", a_spec(multi=True), drifting_rows(2_400, seed=3))
    residuals = {"slice_rows": 3, "alpha": 0.1, "weights": [0.5, 0.1]}
    drift = {**SPARSE["drift"], "parameters": {"h": 1e6}, "residuals": residuals}
    whole = trained(tmp_path, "whole", drift)
    again = trained(tmp_path, "again", drift, stop=16)
    alarms = [line for line in journal_of(whole) if line["kind"] == "drift"]
    assert alarms
    assert journal_of(whole) == journal_of(again)
    for name, state in final_states(whole).items():
        if name != "journal":  # its length hangs on the clock
            assert str(state) == str(final_states(again)[name])


def test_a_run_hears_label_free_alarms_and_goes_on_alike_after_a_restart(tmp_path: Path) -> None:
    columns = drifting_rows(2_400, seed=3)
    half = len(columns["x"]) // 2
    columns["y"][half:] = [value + 3 for value in columns["y"][half:]]  # the loss is not asked
    write_log(tmp_path / "log", a_spec(multi=True), columns)
    inputs = {"dense": {"slice_rows": 12}, "ids": {"slice_rows": 12}, "scores": {"slice_rows": 12}}
    drift = {**SPARSE["drift"], "parameters": {"h": 1e6}, "inputs": inputs}

    whole, again = (
        trained(tmp_path, run, drift, stop) for run, stop in (("whole", None), ("again", 16))
    )
    alarms = [line for line in journal_of(whole) if line["kind"] == "drift"]
    assert alarms
    assert journal_of(whole) == journal_of(again)
    for name, state in final_states(whole).items():
        if name != "journal":  # its length hangs on the clock
            assert str(state) == str(final_states(again)[name])
