"""The comparison of policies: fair budgets, runs that are never made twice, honest verdicts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from compare_policies.contenders import BUDGET, COMMON, SETTLED, contenders
from compare_policies.logs import CONFIGS, LOGS, SHORT_LOGS, Log, Stream, Written, prepare
from compare_policies.narrowing import narrowing, sliding_ne
from compare_policies.results import results
from compare_policies.runs import RESULT, Outcome, Run, Series, execute, finished
from compare_policies.small_dense import macs, small_widths
from compare_policies.study import Study, study
from compare_policies.tables import console, markdown
from compare_policies.wanted import ahead, figures, near

from stream_prune.cli.config import load
from stream_prune.evaluation.compare import Difference
from stream_prune.features import FeatureSpec
from stream_prune.training.config import TrainingConfig

EVERY = [*LOGS, *SHORT_LOGS]
SHORT = Log("capacity-bound", "capacity-bound.yaml", 12_000, (0.001,), generated=True)


class InTurn:
    """A schedule without processes, which counts the runs that it makes."""

    def __init__(self) -> None:
        self.made: list[Path] = []

    def outcomes(self, name: str, runs: list[Run]) -> list[Outcome]:
        return [finished(run) or self._make(run) for run in runs]

    def _make(self, run: Run) -> Outcome:
        self.made.append(run.folder)
        return execute(run)


def unwritten(log: Log) -> Stream:
    """The log as if it had been written, with a mini-batch every 256 rows."""
    spec: FeatureSpec = load(CONFIGS / log.config).spec()
    whole = Written(Path("whole"), 100, log.rows // 256)
    return Stream(log, whole, Written(Path("first"), 20, log.rows // 1280), spec, ())


def training(log: Log, changes: dict[str, object]) -> TrainingConfig:
    run = Run(
        Path("run"), CONFIGS / log.config, (COMMON, changes), unwritten(log).whole, 0, 0.001, 1
    )
    return run.training()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return prepare(SHORT, tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def schedule() -> InTurn:
    return InTurn()


@pytest.fixture(scope="module")
def made(
    short: Stream, schedule: InTurn, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return study(short, some(short), (1, 2), folder, schedule), folder


def some(stream: Stream) -> dict[str, dict[str, object]]:
    every = contenders(stream)
    return {name: every[name] for name in ("dense", "small_dense", "static", "ads", "amgp")}


@pytest.mark.parametrize("log", EVERY, ids=[f"{log.name}-{log.rows}" for log in EVERY])
def test_the_small_dense_model_meets_the_budget_within_a_step(log: Log) -> None:
    config = load(CONFIGS / log.config)
    model, spec = config.training.model, config.spec()
    bottom, top = small_widths(model, spec, BUDGET)
    full = macs(model, spec, (*model.bottom, *model.top))
    widths = [*bottom, *top]
    assert macs(model, spec, tuple(widths)) <= BUDGET * full
    for place in range(len(widths)):
        wider = [width + 8 * (place == i) for i, width in enumerate(widths)]
        assert macs(model, spec, tuple(wider)) > BUDGET * full


@pytest.mark.parametrize("log", EVERY, ids=[f"{log.name}-{log.rows}" for log in EVERY])
def test_every_policy_has_the_same_budget_and_full_tables(log: Log) -> None:
    for name, changes in contenders(unwritten(log)).items():
        config = training(log, changes)
        small = name.startswith("small_dense")
        if config.sparsity is not None:
            assert config.sparsity.budget.macs == (1.0 if small else BUDGET)
            assert config.sparsity.budget.rows is None
        elif config.elements is not None:
            assert config.elements.density == BUDGET
        else:
            assert name in ("dense", "small_dense")
        assert config.tables == load(CONFIGS / log.config).training.tables


@pytest.mark.parametrize("log", EVERY, ids=[f"{log.name}-{log.rows}" for log in EVERY])
def test_the_first_descent_is_over_before_rates_are_judged(log: Log) -> None:
    for changes in contenders(unwritten(log)).values():
        sparsity = training(log, changes).sparsity
        if sparsity is not None and "warmup_rows" in sparsity.parameters:
            steps = sparsity.parameters.get("shrink_steps", 1)
            end = sparsity.parameters["warmup_rows"] + (steps + 1) * sparsity.window_rows
            assert end <= SETTLED * log.rows


def test_drifts_lie_at_the_same_shares_of_a_shorter_stream(short: Stream) -> None:
    begin = 1_704_067_200_000  # where the generated streams begin
    length = SHORT.rows * 1_000
    starts = [round((start - begin) / length, 2) for start, _ in short.drifts]
    assert starts == [0.4, 0.6, 0.8]


def test_rates_are_searched_on_the_first_fifth_alone(short: Stream) -> None:
    assert short.first.folder != short.whole.folder
    assert short.first.windows == pytest.approx(0.2 * short.whole.windows, abs=1)


def test_finished_runs_are_not_made_again(
    made: tuple[Study, Path], short: Stream, schedule: InTurn
) -> None:
    before, (first, folder) = len(schedule.made), made
    assert before == 5 * (1 + 2)
    again = study(short, some(short), (1, 2), folder, schedule)
    assert len(schedule.made) == before
    assert results(again).rows == results(first).rows


def test_a_run_with_other_settings_is_made_anew(
    made: tuple[Study, Path], short: Stream, schedule: InTurn
) -> None:
    _, folder = made
    run = Run(
        folder / "dense" / "rate-0.001",
        CONFIGS / SHORT.config,
        (COMMON,),
        short.first,
        short.rows(SETTLED),
        0.001,
        100,
    )
    assert finished(run) is not None
    assert finished(dataclasses.replace(run, seed=101)) is None


def test_an_interrupted_run_is_not_taken_for_a_finished_one(
    made: tuple[Study, Path], short: Stream, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", CONFIGS / SHORT.config, (COMMON,), short.first, 0, 0.001, 1)
    whole = execute(run)
    (run.folder / RESULT).unlink()
    assert finished(run) is None
    assert np.array_equal(execute(run).series.loss, whole.series.loss)


def test_a_rate_at_which_it_diverges_is_kept_as_such_and_not_chosen(
    short: Stream, tmp_path: Path, schedule: InTurn
) -> None:
    stream = dataclasses.replace(short, log=dataclasses.replace(SHORT, rates=(0.001, 1e30)))
    found = study(stream, {"dense": {}}, (1,), tmp_path, schedule)
    assert found.searched["dense"][1e30] == float("inf")
    assert found.rates["dense"] == 0.001


def test_a_best_rate_at_the_edge_is_looked_beyond(
    short: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = dataclasses.replace(short, log=dataclasses.replace(SHORT, rates=(0.001, 0.002)))
    losses = {
        "falling": lambda rate: 1 - rate,
        "rising": lambda rate: 1 + rate,
        "bowl": lambda rate: abs(rate - 0.004),
    }

    class Told:
        def __init__(self) -> None:
            self.asked: list[tuple[str, float]] = []

        def outcomes(self, name: str, runs: list[Run]) -> list[Outcome]:
            found = []
            for run in runs:
                policy = run.folder.parent.name
                self.asked.append((policy, run.rate))
                loss = losses[policy](run.rate)
                found.append(Outcome({"ne_after_warmup": loss, "rollbacks": 0}, None))
            return found

    told = Told()
    found = study(stream, {name: {} for name in losses}, (), tmp_path, told, wider=2)
    assert found.rates == {"falling": 0.008, "rising": 0.00025, "bowl": 0.004}
    assert sorted(found.searched["falling"]) == [0.001, 0.002, 0.004, 0.008]
    assert found.at_edge == ("falling", "rising")  # bowl: the one beyond was worse
    assert len(told.asked) == 3 * (2 + 2)


def test_series_and_summary_tell_the_same_of_the_whole_run(made: tuple[Study, Path]) -> None:
    for outcomes in made[0].outcomes.values():
        for outcome in outcomes:
            series, summary = outcome.series, outcome.summary
            assert series.labelled.sum() == summary["labelled"]
            assert series.loss.sum() / series.labelled.sum() == pytest.approx(summary["logloss"])
            spent = (series.macs_training * series.labelled).sum() / series.labelled.sum()
            assert spent == pytest.approx(summary["mean_macs_training"], rel=0.15)


def test_the_tables_name_every_policy_log_and_reference(made: tuple[Study, Path]) -> None:
    found = results(made[0])
    for text in (console(found), markdown([found])):
        assert "capacity-bound" in text
        assert "12,000 rows, 3 planted drifts" in text
        for policy in ("dense", "small_dense", "static", "ads", "amgp"):
            assert policy in text
    dense, small = found.rows["dense"], found.rows["small_dense"]
    assert dense.recovery == (0, 0, 0)
    assert dense.macs_training == dense.macs_inference == dense.weights == 1
    assert 0.15 < small.macs_inference <= BUDGET
    assert found.differences["ads"]["dense"].seeds == pytest.approx(
        [ours / full - 1 for ours, full in zip(found.rows["ads"].ne, dense.ne, strict=True)]
    )


def test_the_wanted_figures_can_be_written_as_json(made: tuple[Study, Path]) -> None:
    found = figures([results(made[0])])
    names = [figure.name for figure in found]
    assert "capacity-bound: ads NE above dense" in names
    assert "capacity-bound: static NE above ads" in names
    assert "capacity-bound: small_dense NE above ads" in names
    assert "capacity-bound: amgp training MACs of dense" in names
    json.dumps([dataclasses.asdict(figure) for figure in found], allow_nan=False)


def test_amgp_is_charged_for_what_it_trains(made: tuple[Study, Path]) -> None:
    saved = narrowing(made[0])
    assert saved is not None
    assert BUDGET < saved.macs < 1


def difference(value: float, half: float, seeds: tuple[float, ...]) -> Difference:
    return Difference(value, value - half, value + half, seeds, ())


@pytest.mark.parametrize(
    ("value", "half", "holds", "open_"),
    [
        (0.0005, 0.0001, True, False),
        (0.0020, 0.0001, False, False),
        (0.0005, 0.0010, None, True),
    ],
)
def test_near_dense_holds_fails_or_is_left_open(
    value: float, half: float, holds: bool | None, open_: bool
) -> None:
    figure = near("ads", difference(value, half, (value, value)), most=0.1)
    assert (figure.holds, figure.note.startswith("a tie")) == (holds, open_)
    assert figure.value == pytest.approx(100 * value)


@pytest.mark.parametrize(
    ("value", "half", "holds"), [(-0.01, 0.001, True), (0.01, 0.001, False), (-0.01, 0.02, None)]
)
def test_being_ahead_holds_fails_or_is_a_tie(value: float, half: float, holds: bool | None) -> None:
    figure = ahead("static NE above ads", difference(value, half, (value, value)))
    assert figure.holds is holds
    assert (figure.value > 0) == (value < 0)


def test_what_nobody_asked_for_is_shown_without_a_verdict() -> None:
    figure = ahead("small", difference(0.01, 0.001, (0.01,)), asked=False)
    assert (figure.wanted, figure.holds) == ("", None)


def test_a_sliding_ne_looks_back_over_a_twentieth_of_the_rows() -> None:
    windows = 100
    loss = np.full(windows, 10 * np.log(2))
    loss[:50] *= 2
    count = np.full(windows, 10)
    none = np.zeros(windows, np.int64)
    run = Series(np.arange(windows), count, count // 2, loss, none, none.astype(float))
    ne = sliding_ne(run)
    assert ne[[0, 49, 54, 99]] == pytest.approx([2, 2, 1, 1])
    assert 1 < ne[51] < 2
