"""The comparison of models: what is compared, and what its figures say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from compare_models.figures import figures, lines, table
from compare_models.heads import LOGS, MODELS, SHORT_LOGS, VARIANTS, compared, label
from compare_models.speed import batches, examples_per_s
from compare_policies.contenders import COMMON
from compare_policies.logs import CONFIGS, Log, Stream, Written, prepare
from compare_policies.runs import Outcome, Run, Series
from compare_policies.study import Study

from stream_prune.cli.config import load
from stream_prune.training.model_config import HEADS

ENDS = np.arange(100)


def unwritten(log: Log) -> Stream:
    spec = load(CONFIGS / log.config).spec()
    whole = Written(Path("whole"), 100, log.rows // 256)
    return Stream(log, whole, Written(Path("first"), 20, log.rows // 1280), spec, ())


def outcome(loss: float, macs: int, why: str = "") -> Outcome:
    rows = np.full(100, 400)
    series = Series(ENDS, rows, rows // 5, np.full(100, loss), rows, rows / 1.0)
    summary = {
        "ne_after_warmup": loss,
        "auc_after_warmup": 0.7,
        "macs_inference": macs,
        "dense_macs_inference": 1000,
        "mean_macs_inference_after_warmup": macs,
        "parameters": 600,
        "embedding_parameters": 400,
        "budget": {"macs": {"met": not why, "why": why}},
    }
    return Outcome(summary, series)


def test_every_head_is_compared() -> None:
    assert {model["name"] for model in MODELS.values()} == set(HEADS)


@pytest.mark.parametrize("log", [*LOGS, *SHORT_LOGS], ids=lambda log: f"{log.name}-{log.rows}")
def test_variants_differ_in_their_sparsity_alone(log: Log) -> None:
    stream = unwritten(log)
    every = compared(stream, tuple(MODELS))
    for model in MODELS:
        dense, ads = (
            Run(Path("run"), CONFIGS / log.config, (COMMON, every[label(model, variant)]),
                stream.whole, 0, 0.001, 1).training()
            for variant in VARIANTS
        )  # fmt: skip
        assert dense.sparsity is None
        assert ads.sparsity is not None
        assert ads.sparsity.budget.macs == 0.2
        assert dense == dataclasses.replace(ads, sparsity=None, drift=None)
        assert dense.model.name == MODELS[model]["name"]


def test_figures_say_who_holds_the_budget_and_how_far_it_is_above_dense() -> None:
    stream = unwritten(SHORT_LOGS[0])
    outcomes = {
        "dlrm, dense": [outcome(0.50, 1000), outcome(0.51, 1000)],
        "dlrm, ads": [outcome(0.55, 300), outcome(0.56, 300)],
    }
    rates = {"dlrm, dense": 0.001, "dlrm, ads": 0.002}
    study = Study(
        stream, {name: {rate: 0.5} for name, rate in rates.items()}, rates, (1, 2), outcomes
    )
    found = lines(study, ("dlrm",), {"dlrm, dense": 1000.0, "dlrm, ads": 4000.0})
    assert found["dlrm, dense"].above_dense is None
    assert found["dlrm, ads"].above_dense.value == pytest.approx(0.555 / 0.505 - 1)
    assert found["dlrm, ads"].megabytes == pytest.approx(0.004)
    told = {figure.name: figure for figure in figures("flights", found)}
    assert told["flights: dlrm, ads: MACs at the end"].holds is False
    assert told["flights: dlrm, ads: MACs at the end"].value == pytest.approx(0.3)
    assert told["flights: dlrm, ads: examples learned"].value == 4
    assert "+9.90 % (above)" in table("flights", study, found)


def test_a_plan_that_a_late_drift_has_regrown_is_no_broken_budget() -> None:
    stream = unwritten(SHORT_LOGS[0])
    outcomes = {
        "dlrm, dense": [outcome(0.5, 1000)] * 2,
        "dlrm, ads": [outcome(0.5, 200), outcome(0.5, 700, "grown (drift): until it prunes")],
    }
    searched = {name: {0.001: 0.5} for name in outcomes}
    study = Study(stream, searched, dict.fromkeys(outcomes, 0.001), (1, 2), outcomes)
    found = lines(study, ("dlrm",), dict.fromkeys(outcomes, 1000.0))
    told = {figure.name: figure for figure in figures("flights", found)}
    end = told["flights: dlrm, ads: MACs at the end"]
    assert (end.value, end.holds, end.note) == (0.45, None, "grown (drift): until it prunes")


def test_speed_is_measured_on_the_largest_batches_of_the_log(tmp_path: Path) -> None:
    log = Log("capacity-bound", "capacity-bound.yaml", 12_000, (0.001,), generated=True)
    stream = prepare(log, tmp_path)
    assert [batch.rows for batch in batches(stream)] == [400] * 6
    found = examples_per_s(stream, ("deepfm",), rounds=1)
    assert set(found) == {"deepfm, dense", "deepfm, ads"}
    assert min(found.values()) > 0
