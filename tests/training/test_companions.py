"""Runs with a model beside the deployed one: a dense shadow, or a small dense control."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_trainer import SPARSE, a_config, assert_same_bits, final_states, journal_of
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.errors import ConfigError
from stream_prune.evaluation.prequential import Prequential
from stream_prune.minibatch.reader import windows
from stream_prune.training.build import build, build_control
from stream_prune.training.config import TrainingConfig
from stream_prune.training.journal import read
from stream_prune.training.learner import Learner
from stream_prune.training.trainer import Trainer

BUDGET = SPARSE["sparsity"]["budget"]
SHADOW: dict[str, Any] = {
    "sparsity": {
        "budget": BUDGET,
        "policy": "ads_shadow",
        "parameters": {
            "warmup_rows": 600,
            "every_rows": 700,
            "settle_windows": 1,
            "distill_rows": 300,
        },
        "window_rows": 200,
    },
    "drift": SPARSE["drift"],
}
CONTROL: dict[str, Any] = SPARSE | {"control": {"lr": 0.01}}


def resumed(tmp_path: Path, values: dict[str, Any], rows: dict[str, list]) -> TrainingConfig:
    """A run on a log that grows, taken up again at each growth."""
    parts = replace(a_config(tmp_path, "parts", **values), log=tmp_path / "growing")
    for hours in (6, 10, None):
        until = None if hours is None else (400 + hours) * HOUR
        write_log(parts.log, a_spec(), rows, until=until)
        Trainer(parts).run()
    return parts


@pytest.mark.parametrize("values", [SHADOW, CONTROL], ids=["shadow", "control"])
def test_a_run_with_a_companion_taken_up_again_ends_with_the_same_bits(tmp_path, values):
    rows = drifting_rows(2000)
    write_log(tmp_path / "log", a_spec(), rows)
    whole = a_config(tmp_path, "whole", **values)
    Trainer(whole).run()
    parts = resumed(tmp_path, values, rows)
    assert_same_bits(final_states(whole), final_states(parts))
    expected, found = journal_of(whole), journal_of(parts)
    del expected[0]["config"]["log"], found[0]["config"]["log"]
    assert found == expected


def test_shadow_mode_derives_a_small_model_and_counts_the_dense_one(tmp_path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(2500))
    config = a_config(tmp_path, **SHADOW)
    summary = Trainer(config).run()
    lines = list(read(config.run / "journal.jsonl"))
    derived = [line for line in lines if line["kind"] == "derive"]
    assert len(derived) == summary["derivations"] >= 3
    assert derived[0]["trigger"] == "warm-up"
    assert {line["trigger"] for line in derived[1:]} <= {"clock", "drift"}
    assert summary["shrinks"] == summary["grows"] == 0
    assert summary["macs_inference"] <= 0.5 * summary["dense_macs_inference"]
    # Learning costs more than the dense model would: both are trained.
    assert summary["mean_macs_training"] > summary["dense_macs_training"]
    assert summary["mean_macs_inference"] < summary["dense_macs_inference"]
    reference = summary["reference"]
    assert reference["kind"] == "shadow"
    assert reference["memory_bytes"] > 4 * summary["dense_parameters"]
    assert reference["parameters"] == summary["dense_parameters"]
    assert "shadow" in reference["verdict"] or "live model" in reference["verdict"]


def test_the_shadow_is_a_dense_head_trained_on_the_deployed_model_s_rows(tmp_path):
    """Step by step as defined: it sees the rows as they are, and never moves them."""
    log = write_log(tmp_path / "log", a_spec(delay_ms=0), drifting_rows(1000))
    config = a_config(tmp_path, **SHADOW)
    learner = build(config, log.spec)
    shadow = learner.companion
    assert shadow is not None
    for mine, other in zip(
        shadow.parts()["shadow"].state_dict().values(),
        learner.head.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(mine, other)
    for window in list(windows(log))[:4]:
        for name, ref in window.batches:
            batch = log.read(name, ref, log.spec)
            batch = batch.take(batch.labelled)
            before = learner.tables.weight.clone()
            scores, own = shadow.score(batch), learner.score(batch)
            assert np.array_equal(scores, own)  # in the warm-up both are one
            assert shadow.learn(batch) is None
            assert torch.equal(learner.tables.weight, before)
            learner.learn(batch)
            assert not torch.equal(learner.tables.weight, before)


def test_after_a_derivation_the_shadow_teaches_for_a_while(tmp_path, monkeypatch):
    write_log(tmp_path / "log", a_spec(), drifting_rows(2000))
    config = a_config(tmp_path, **SHADOW)
    trainer = Trainer(config)
    taught: list[bool] = []
    learn = Learner.learn

    def watched(self: Learner, batch: Any, soft: Any = None) -> None:
        taught.append(soft is not None)
        learn(self, batch, soft)

    monkeypatch.setattr(Learner, "learn", watched)
    with_teacher = trainer.run()
    first = taught.index(True)
    assert first * 64 >= 600 - 64
    assert 0.1 < np.mean(taught[first:]) < 0.9
    parameters = SHADOW["sparsity"]["parameters"] | {"distill_rows": 0}
    values = SHADOW | {"sparsity": SHADOW["sparsity"] | {"parameters": parameters}}
    taught.clear()
    alone = Trainer(a_config(tmp_path, "alone", **values)).run()
    assert not any(taught)
    assert alone["ne"] != with_teacher["ne"]


def test_soft_targets_are_learned_beside_the_labels(tmp_path):
    """With all the weight on them the labels count for nothing."""
    from stream_prune.training.companion import SoftTargets

    log = write_log(tmp_path / "log", a_spec(), drifting_rows(300))
    window = next(windows(log))
    batch = log.read(*window.batches[0], log.spec)
    batch = batch.take(batch.labelled)
    flipped = replace(batch, label=1 - batch.label)
    opinion = torch.full((batch.rows,), 0.9)
    heads = []
    for weight, given in ((1.0, batch), (1.0, flipped), (0.5, batch), (0.5, flipped)):
        learner = build(a_config(tmp_path), log.spec)
        learner.learn(given, SoftTargets(opinion, weight))
        heads.append([p.detach().clone() for p in learner.head.parameters()])
    assert all(map(torch.equal, heads[0], heads[1]))
    assert not all(map(torch.equal, heads[2], heads[3]))
    assert not all(map(torch.equal, heads[0], heads[2]))


def test_a_control_says_whether_a_small_dense_model_would_do_as_well(tmp_path):
    log = write_log(tmp_path / "log", a_spec(), drifting_rows(2500))
    config = a_config(tmp_path, **CONTROL)
    summary = Trainer(config).run()
    reference = summary["reference"]
    assert reference["kind"] == "control"
    assert reference["ne"] == pytest.approx(summary["ne"])
    assert 0.5 < reference["ne_reference"] < 1.1
    assert (
        "a small dense model would do" in reference["verdict"]
        or "live model" in (reference["verdict"])
    )
    share = reference["macs_inference"] / summary["dense_macs_inference"]
    assert 0.35 < share <= 0.5
    # What the control costs is the comparison's, not the method's.
    alone = Trainer(a_config(tmp_path, "alone", **SPARSE)).run()
    assert summary["mean_macs_training"] == alone["mean_macs_training"]
    assert_same_model(config, a_config(tmp_path, "alone", **SPARSE))
    # Its own NE is that of a small dense model trained alone, with the rows of the budget.
    small = build_control(config, log.spec, build(config, log.spec))
    assert small is not None
    judge, learned = Prequential(), 0
    found = list(windows(log))
    loaded = [[log.read(name, ref, log.spec) for name, ref in w.batches] for w in found]
    waiting: list[np.ndarray] = []

    def learn_one() -> None:
        nonlocal learned
        labels = np.concatenate([batch.label for batch in loaded[learned]])
        judge.add(labels, waiting[learned])
        for batch in loaded[learned]:
            small.learn(batch.take(batch.labelled))
        small.learner.end_window()
        learned += 1

    for window, batches in zip(found, loaded, strict=True):
        while found[learned].end + 2 * HOUR <= window.start:
            learn_one()
        waiting.append(np.concatenate([small.score(batch) for batch in batches]))
    while learned < len(found):
        learn_one()
    assert reference["ne_reference"] == pytest.approx(judge.summary()["ne"], rel=1e-9)


def assert_same_model(left: TrainingConfig, right: TrainingConfig) -> None:
    states, others = final_states(left), final_states(right)
    for part in ("head", "tables", "optimizer"):
        assert_same_bits({part: states[part]}, {part: others[part]})


def test_a_control_s_tables_have_the_deployed_model_s_capacities(tmp_path):
    log = write_log(tmp_path / "log", a_spec(), drifting_rows(300))
    config = a_config(tmp_path, **CONTROL)
    deployed = build(config, log.spec)
    control = build_control(config, log.spec, deployed)
    assert control is not None
    tables = control.learner.tables.tables
    assert [t.capacity for t in tables.values()] == [100, 100]
    deployed.tables.resize({"user": 60})
    control.end_window(deployed.tables)
    assert tables["user"].capacity == 60


def test_a_control_of_given_widths_has_them_and_others_are_solved_for(tmp_path):
    log = write_log(tmp_path / "log", a_spec(), drifting_rows(100))

    def widths(**control: Any) -> list[int]:
        config = a_config(tmp_path, **(SPARSE | {"control": {"lr": 0.01} | control}))
        built = build_control(config, log.spec, build(config, log.spec))
        assert built is not None
        found: list[int] = built.figures()["widths"]
        return found

    assert widths(bottom=[5], top=[7, 3]) == [5, 8, 7, 3, 1]
    solved = widths()
    assert [w % 4 for w in (solved[0], solved[2], solved[3])] == [0, 0, 0]
    assert solved[0] < 16
    assert solved[2] < 32
    narrow_top = widths(top=[16, 4])
    assert narrow_top[2:4] == [16, 4]
    assert narrow_top[0] > solved[0]


def test_a_control_of_another_model_has_that_models_settings(tmp_path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(100))
    model = {"name": "dcn", "dim": 4, "top": [32], "parameters": {"rank": 16, "layers": 1}}
    control = {"lr": 0.1, "parameters": {"rank": 2, "layers": 1}}
    config = a_config(tmp_path, model=model, **(SPARSE | {"control": control}))
    summary = Trainer(config).run()
    reference = summary["reference"]
    assert reference["widths"][0] == 2  # the rank as it is given, the deep network solved for
    assert reference["widths"][2] < 32
    assert reference["macs_inference"] <= BUDGET["macs"] * summary["dense_macs_inference"]


def test_a_control_that_diverges_is_given_up_and_the_run_goes_on(tmp_path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(1000))
    config = a_config(tmp_path, **(SPARSE | {"control": {"lr": 1e25}}))
    summary = Trainer(config).run()
    assert summary["rollbacks"] == 0
    assert "control.lr" in summary["reference"]["failed"]
    assert summary["reference"]["verdict"].startswith("a small dense model was given up at event")
    Trainer(a_config(tmp_path, "alone", **SPARSE)).run()
    assert_same_model(config, a_config(tmp_path, "alone", **SPARSE))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"control": {"lr": 0.1}}, r"^control: there is no budget .* add `sparsity`"),
        ({**SHADOW, "control": {"lr": 0.1}}, r"^control: goes without the policy ads_shadow"),
        ({**SPARSE, "control": {}}, r"^control\.lr: is missing"),
        ({**SPARSE, "control": {"lr": 0.0}}, r"^control\.lr = 0.0: must be greater than 0"),
        (
            {**SPARSE, "control": {"lr": 1.0, "top": [0]}},
            r"^control\.top\[0\] = 0: must be 1 or more",
        ),
    ],
)
def test_a_control_that_cannot_be_is_refused(tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        a_config(tmp_path, **values)


def test_a_budget_that_no_widths_meet_is_refused_with_the_way_out(tmp_path):
    write_log(tmp_path / "log", a_spec(), drifting_rows(100))
    values = SPARSE | {"control": {"lr": 0.1, "top": [32, 16]}}
    with pytest.raises(ConfigError, match=r"control: no hidden widths .* give control\.bottom"):
        Trainer(a_config(tmp_path, **values))
