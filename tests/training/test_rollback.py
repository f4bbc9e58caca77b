"""Runs whose model diverges: steps are dropped, then the run goes back, then it gives up."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer import SPARSE, a_config, assert_same_bits, final_states, journal_of
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.errors import RunError
from stream_prune.training.config import TrainingConfig
from stream_prune.training.journal import read
from stream_prune.training.learner import Learner
from stream_prune.training.trainer import Trainer

POISONED = 411 * HOUR
"""Event time from which on the poisons below act."""


def poison_weights(monkeypatch: pytest.MonkeyPatch, while_above: float) -> None:
    """A weight becomes infinite at POISONED, while the rates are above a multiplier."""
    learn = Learner.learn

    def poisoned(self: Learner, batch: Any, *more: Any) -> None:
        learn(self, batch, *more)
        if self.caution > while_above and batch.event_time[-1] >= POISONED:
            with torch.no_grad():
                next(self.head.parameters()).view(-1)[0] = torch.inf

    monkeypatch.setattr(Learner, "learn", poisoned)


def poison_gradients(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """The gradients of some batches from POISONED on are not finite."""
    logits, left = Learner._logits, [batches]

    def poisoned(self: Learner, batch: Any, rows: Any) -> Any:
        given = logits(self, batch, rows)
        training = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        if training and batch.event_time[-1] >= POISONED and left[0]:
            left[0] -= 1
            return given * torch.inf
        return given

    monkeypatch.setattr(Learner, "_logits", poisoned)


def lines_of(config: TrainingConfig, kind: str) -> list[dict[str, Any]]:
    return [line for line in read(config.run / "journal.jsonl") if line["kind"] == kind]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_log(tmp_path / "log", a_spec(), drifting_rows(1000))
    return tmp_path


@pytest.mark.parametrize("values", [{}, SPARSE], ids=["dense", "sparse"])
def test_a_step_whose_gradients_are_not_finite_is_dropped_and_told(log, monkeypatch, values):
    poison_gradients(monkeypatch, batches=3)
    config = a_config(log, **values)
    summary = Trainer(config).run()
    told = lines_of(config, "dropped")
    assert len(told) == summary["dropped_steps"] == 3
    assert summary["rollbacks"] == 0
    assert [line["trigger"] for line in told] == ["gradients"] * 3
    assert all(line["event_time"] >= POISONED for line in told)
    states = final_states(config)
    for part in ("head", "tables"):
        for name, value in states[part].items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                assert torch.isfinite(value).all(), name


def test_rows_of_a_dropped_step_stay_as_they_were(log, monkeypatch):
    poison_gradients(monkeypatch, batches=1)
    steps = []
    config = a_config(log)
    trainer = Trainer(config)
    tables = trainer.state.learner.tables
    step, discard = tables.step, tables.discard
    monkeypatch.setattr(tables, "step", lambda: (steps.append("step"), step()))
    monkeypatch.setattr(tables, "discard", lambda: (steps.append("discard"), discard()))
    summary = trainer.run()
    assert steps.count("discard") == 1
    assert len(steps) == summary["batches_learned"]


@pytest.mark.parametrize("values", [{}, SPARSE], ids=["dense", "sparse"])
def test_a_run_that_diverges_goes_back_and_on_at_half_its_rates(log, monkeypatch, caplog, values):
    poison_weights(monkeypatch, while_above=0.5)
    config = a_config(log, checkpoint={"every_windows": 4}, **values)
    summary = Trainer(config).run()
    assert summary["rollbacks"] == 1
    assert summary["rows_scored"] == 1000
    (told,) = lines_of(config, "rollback")
    assert told["rate"] == 0.5
    assert told["window_end"] >= POISONED
    assert "is not finite" in told["reason"] or "not finite" in told["reason"]
    assert "learning rates x 0.5 from there" in caplog.text
    before, after = ([w["rate"] for w in lines_of(config, "window")][i] for i in (0, -1))
    assert after == before / 2 or values
    ends = [line["window_end"] for line in lines_of(config, "window")]
    assert ends == sorted(set(ends))


def test_a_run_that_diverges_before_its_first_checkpoint_begins_anew(log, monkeypatch):
    poison_weights(monkeypatch, while_above=0.5)
    config = a_config(log, checkpoint={"every_windows": 1000})
    assert Trainer(config).run()["rollbacks"] == 1
    kinds = [line["kind"] for line in read(config.run / "journal.jsonl")]
    assert kinds[:2] == ["start", "rollback"]


def test_a_model_that_is_not_finite_is_never_saved(log, monkeypatch):
    poison_weights(monkeypatch, while_above=0.0)
    config = a_config(log, checkpoint={"every_windows": 1})
    with pytest.raises(RunError):
        Trainer(config).run()
    for value in final_states(config)["head"].values():
        assert isinstance(value, torch.Tensor)
        assert torch.isfinite(value).all()


def test_the_third_time_at_one_checkpoint_it_gives_up_and_says_where_and_what(log, monkeypatch):
    poison_weights(monkeypatch, while_above=0.0)
    config = a_config(log, checkpoint={"every_windows": 4})
    message = (
        r"window \d+: .*parameter 'bottom\.0\.weight' of the head\. The run has gone back to its "
        r"checkpoint of step \d+ 2 times.*now x 0\.25.*lower optimizer\.lr"
    )
    with pytest.raises(RunError, match=message):
        Trainer(config).run()
    (told,) = lines_of(config, "rollback")
    assert (told["times"], told["rate"]) == (2, 0.25)
    with pytest.raises(RunError, match=message):
        Trainer(config).run()


def test_dropped_steps_without_end_lead_back_too(log, monkeypatch):
    poison_gradients(monkeypatch, batches=10)
    config = a_config(log, checkpoint={"every_windows": 4})
    summary = Trainer(config).run()
    assert summary["rollbacks"] == 1
    assert "10 optimizer steps in a row" in lines_of(config, "rollback")[0]["reason"]


def test_a_run_taken_up_after_going_back_ends_with_the_same_bits(log, monkeypatch):
    """Also when the checkpoint that it went back to was replaced half-way."""
    poison_weights(monkeypatch, while_above=0.3)
    whole = a_config(log, "whole", checkpoint={"every_windows": 4}, **SPARSE)
    assert Trainer(whole).run()["rollbacks"] == 2
    parts = a_config(log, "parts", checkpoint={"every_windows": 4}, **SPARSE)
    trainer = Trainer(parts)

    class StopError(Exception):
        pass

    def stop(line: dict[str, Any]) -> None:
        if trainer.state.setbacks.total == 1:
            raise StopError

    trainer._on_window = stop
    with pytest.raises(StopError):
        trainer.run()
    checkpoint = max((parts.run / "checkpoints").iterdir())
    checkpoint.rename(checkpoint.with_name(f".{checkpoint.name}.old.tmp"))
    Trainer(parts).run()
    assert_same_bits(final_states(whole), final_states(parts))
    assert journal_of(whole) == journal_of(parts)
