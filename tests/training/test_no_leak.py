from pathlib import Path

import leak_log
import numpy as np
import pyarrow as pa
import pytest
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.minibatch.reader import Score
from stream_prune.training.config import TrainingConfig
from stream_prune.training.cursors import Cursors, Scores
from stream_prune.training.trainer import Trainer


def leak_auc(folder: Path, rows: int, delay_ms: int) -> float:
    table, spec = leak_log.make(rows, seed=1, label_delay_ms=delay_ms)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    columns["time"] = table["time"].cast(pa.int64()).to_pylist()
    write_log(folder / "log", spec, columns, window_ms=HOUR // 12, batch_rows=128)
    values = {
        "run": str(folder / "run"),
        "log": str(folder / "log"),
        "model": {"dim": 8, "bottom": [8], "top": [16]},
        "optimizer": {"lr": 0.003, "rows_lr": 10.0},
        "tables": {"default_capacity": 300, "admission": 1},
        "checkpoint": {"every_windows": 1000},
    }
    summary = Trainer(TrainingConfig.from_dict(values)).run()
    assert summary["rows_learned"] == rows
    return summary["auc"]


def test_labels_help_nobody_before_they_are_known(tmp_path: Path):
    """A user's choice lasts an hour: known at once it is worth a lot, known a day later nothing."""
    assert leak_auc(tmp_path / "at_once", 12_000, 0) > 0.6
    assert leak_auc(tmp_path / "after_a_day", 48_000, leak_log.DAY_MS) == pytest.approx(
        0.5, abs=0.02
    )


def scores_by_window(
    folder: Path, columns: dict, delay: int, monkeypatch: pytest.MonkeyPatch
) -> dict[int, np.ndarray]:
    scores: dict[int, np.ndarray] = {}
    scored = Cursors.scored

    def remember(self: Cursors, step: Score, given: Scores) -> None:
        scores[step.window.end] = given.own.copy()
        scored(self, step, given)

    write_log(folder / "log", a_spec(delay), columns)
    values = {"run": str(folder / "run"), "log": str(folder / "log"), "model": {"dim": 4}}
    with monkeypatch.context() as patch:
        patch.setattr(Cursors, "scored", remember)
        Trainer(TrainingConfig.from_dict(values)).run()
    return scores


@pytest.mark.parametrize("delay_hours", [0, 1, 5])
def test_no_score_depends_on_a_label_that_was_not_known_yet(tmp_path, monkeypatch, delay_hours):
    delay = delay_hours * HOUR
    rows = drifting_rows(1200)
    perturbed_end = 409 * HOUR
    in_window = [perturbed_end - HOUR <= t < perturbed_end for t in rows["time"]]
    flipped = dict(rows)
    flipped["click"] = [
        1 - click if inside and click is not None else click
        for click, inside in zip(rows["click"], in_window, strict=True)
    ]
    before = scores_by_window(tmp_path / "as_is", rows, delay, monkeypatch)
    after = scores_by_window(tmp_path / "flipped", flipped, delay, monkeypatch)
    assert before.keys() == after.keys()
    changed = [end for end in before if not np.array_equal(before[end], after[end])]
    known_from = perturbed_end + delay
    assert all(end - HOUR >= known_from for end in changed)
    assert min(changed) - HOUR == known_from  # and from then on they do count
