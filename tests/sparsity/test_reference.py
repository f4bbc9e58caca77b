"""The standing reference: a model trained beside the live one, compared row by row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from test_controller import make

from stream_prune.errors import ConfigError
from stream_prune.sparsity import Budget
from stream_prune.sparsity.policies.policy import Keep, Observation
from stream_prune.sparsity.reference import StandingReference

WINDOW = 800


def clicks(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Labels, and the probabilities that they were drawn from."""
    generator = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(-generator.normal(size=rows)))
    return (generator.random(rows) < truth).astype(float), truth


def blurred(truth: Any, by: float, seed: int = 1) -> Any:
    noise = np.random.default_rng(seed).normal(size=len(truth)) * by
    return 1 / (1 + np.exp(-(np.log(truth / (1 - truth)) + noise)))


def seen(live: float, reference: float, rows: int = 8 * WINDOW) -> StandingReference:
    beside = StandingReference(WINDOW)
    labels, truth = clicks(rows)
    beside.observe(labels, blurred(truth, live, 1), blurred(truth, reference, 2))
    return beside


@pytest.mark.parametrize(
    ("live", "reference", "worse", "verdict"),
    [
        (1.0, 0.0, True, "the reference would do better by"),
        (0.3, 0.3, False, "the reference would do as well"),
        (0.0, 1.0, False, "the live model is better by"),
    ],
)
def test_the_verdict_names_the_better_model(
    live: float, reference: float, worse: bool, verdict: str
) -> None:
    beside = seen(live, reference)
    summary = json.loads(json.dumps(beside.summary(), allow_nan=False))
    assert summary["verdict"].startswith(verdict)
    assert beside.worse is summary["worse_lately"] is worse
    low, high = summary["interval"]
    assert low < summary["difference"] < high
    gap = summary["logloss"] - summary["logloss_reference"]
    assert gap == pytest.approx(summary["difference"], abs=1e-3)
    assert (summary["ne"] > summary["ne_reference"]) is (gap > 0)


def test_equal_models_are_never_called_worse_and_chance_rarely_decides() -> None:
    labels, truth = clicks(10 * WINDOW)
    beside = StandingReference(WINDOW)
    beside.observe(labels, truth, truth)
    assert not beside.worse
    wrong = 0
    for seed in range(60):
        labels, truth = clicks(10 * WINDOW, seed)
        beside = StandingReference(WINDOW)
        given = blurred(truth, 0.5, 2 * seed + 100), blurred(truth, 0.5, 2 * seed + 101)
        beside.observe(labels, *given)
        wrong += "as well" not in beside.summary()["verdict"]
    assert wrong <= 2  # three standard errors: .3 % of the time


def test_few_rows_say_nothing_and_neither_does_no_reference() -> None:
    assert "too few rows" in seen(0.0, 2.0, rows=WINDOW // 2).summary()["verdict"]
    assert seen(0.0, 2.0, rows=WINDOW // 2).summary()["interval"] is None
    controller, _, _ = make()
    verdict = controller.summary()["reference"]["verdict"]
    assert verdict == "none was given: whether a small dense model would do as well is not known"


class Asking:
    """A policy that remembers what it was shown."""

    rows_from_start = starts_sparse = False

    def __init__(self) -> None:
        self.shown: list[Observation] = []

    def initial(self, budget: float) -> Any:
        return Observation(0, 0.0, budget, False, False)

    def wants_scores(self, state: Any, window_rows: int) -> bool:
        return False

    def step(self, state: Any, observation: Observation) -> Any:
        self.shown.append(observation)
        return state, Keep()

    def rate(self, state: Any) -> float:
        return 1.0


def test_the_policy_is_told_and_rows_without_a_label_do_not_count() -> None:
    policy = Asking()
    controller, _, _ = make(policy, window_rows=WINDOW)
    labels, truth = clicks(4 * WINDOW)
    labels[::2] = np.nan
    for start in range(0, len(labels), 100):
        part = slice(start, start + 100)
        guess = np.full(100, 0.5)
        controller.step(labels=labels[part], scores=guess, reference=truth[part])
    assert [observation.worse for observation in policy.shown] == [False, True, True, True]
    assert [observation.loss for observation in policy.shown] == pytest.approx([np.log(2)] * 4)
    assert controller.summary()["reference"]["rows"] == 2 * WINDOW


def test_a_state_taken_up_in_between_gives_the_same_verdict_bit_for_bit() -> None:
    labels, truth = clicks(6 * WINDOW)
    given = torch.from_numpy(blurred(truth, 0.5)), truth
    whole, _, _ = make(window_rows=WINDOW)
    resumed, _, _ = make(window_rows=WINDOW)
    for start in range(0, len(labels), 130):  # not a divisor of a block
        part = slice(start, start + 130)
        whole.step(labels=labels[part], scores=given[0][part], reference=given[1][part])
        if start == 1300:
            resumed.load_state_dict(whole.state_dict())
        if start > 1300:
            resumed.step(labels=labels[part], scores=given[0][part], reference=given[1][part])
    assert whole.summary()["reference"] == resumed.summary()["reference"]
    assert whole.summary()["reference"]["rows"] == 6 * WINDOW
    states = whole.state_dict(), resumed.state_dict()
    for key, value in states[0].items():
        assert (
            torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][key]))
            if isinstance(value, torch.Tensor | int | float)
            else value == states[1][key]
        ), key


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reference": np.full(4, 0.5)}, "needs labels and scores"),
        ({"labels": np.ones(4), "scores": np.full(4, 0.5), "reference": np.full(3, 0.5)}, "3 ref"),
        ({"labels": np.ones(4), "scores": np.full(3, 0.5)}, "3 scores for 4 labels"),
        ({"labels": np.ones(2), "scores": np.full(2, 0.5), "reference": [0.5, 2]}, "sigmoid"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], message: str) -> None:
    controller, _, _ = make(budget=Budget(macs=0.3, min_units=4, round_to=4))
    with pytest.raises(ConfigError, match=message):
        controller.step(**given)
