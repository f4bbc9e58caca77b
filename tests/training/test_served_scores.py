"""The scores that were served are judged beside the trainer's own, on the same events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_logs import a_spec, drifting_rows, write_log

from stream_prune.cli.figures import print_figures
from stream_prune.evaluation.prequential import Prequential
from stream_prune.training.config import TrainingConfig
from stream_prune.training.journal import read
from stream_prune.training.trainer import Trainer


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return TrainingConfig.from_dict(
        {
            "run": str(tmp_path / "run"),
            "log": str(tmp_path / "log"),
            "model": {"dim": 4, "bottom": [8], "top": [8]},
            "tables": {"default_capacity": 64},
            "checkpoint": {"every_windows": 2},
        }
    )


def test_their_figures_stand_beside_the_trainers_and_survive_a_restart(
    config: TrainingConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = drifting_rows(900)
    rng = np.random.default_rng(3)
    score = rng.random(900).round(3)
    rows["p"] = [None if i % 5 == 0 else float(score[i]) for i in range(900)]
    spec = replace(a_spec(), served_score="p")
    write_log(tmp_path / "log", spec, rows, ended=False, until=rows["time"][400])
    Trainer(config).run()
    write_log(tmp_path / "log", spec, rows)
    summary = Trainer(config).run()
    labels = np.array([np.nan if c is None else c for c in rows["click"]])
    given = np.arange(900) % 5 != 0
    by_hand = Prequential()
    by_hand.add(labels[given], score[given].astype(np.float32))
    wanted = by_hand.summary()
    for name in ("rows", "labelled", "positives"):
        assert summary["served"][name] == wanted[name]
    for name in ("ne", "logloss", "auc", "calibration"):
        assert summary["served"][name] == pytest.approx(wanted[name], abs=1e-6)
    assert summary["served"]["ne"] != summary["ne"]
    assert summary["rows"] == 900
    lines = [line for line in read(config.run / "journal.jsonl") if line["kind"] == "window"]
    assert sum(line["served"]["labelled"] for line in lines) == wanted["labelled"]
    from rich.console import Console

    print_figures(Console(), [config.run])
    assert f"the scores that were served: NE {wanted['ne']:.4f}" in capsys.readouterr().out


def test_the_model_is_the_same_with_and_without_them(
    config: TrainingConfig, tmp_path: Path
) -> None:
    rows = drifting_rows(400)
    rows["p"] = [0.5] * 400
    found = []
    for name, spec in (("a", a_spec()), ("b", replace(a_spec(), served_score="p"))):
        write_log(tmp_path / name, spec, rows)
        own = replace(config, run=tmp_path / f"run-{name}", log=tmp_path / name)
        found.append(Trainer(own).run())
    assert found[0]["ne"] == found[1]["ne"]
    assert "served" not in found[0]
