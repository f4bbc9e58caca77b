"""A run that is killed and resumed goes on as if nothing had happened."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_controller import FAST, Stream, Table, make, run
from torch.optim import SGD, Adagrad, Adam

from stream_prune.drift import Adwin, Cusum, DriftMonitor
from stream_prune.errors import ConfigError
from stream_prune.sparsity import Budget, Static

STEPS = 90


def fresh(optimizer: type, detector: type, criterion: str = "taylor") -> Any:
    drift = DriftMonitor(detector(), slice_rows=50, cooldown_rows=400)
    tables = {"user": Table("user", 1000)}
    budget = Budget(macs=0.3, rows=0.5, min_units=4, round_to=4)
    made = make(
        replace(FAST, clock_rows=1500),
        drift=drift,
        optimizer=optimizer,
        tables=tables,
        budget=budget,
        criterion=criterion,
    )
    return *made, tables


def outcome(controller: Any, model: Any, optimizer: Any) -> dict[str, torch.Tensor]:
    values = {f"model/{k}": v for k, v in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        values.update(
            {f"{index}/{k}": torch.as_tensor(v) for k, v in state.items() if v is not None}
        )
    for key, value in controller.state_dict().items():
        is_text = isinstance(value, str)
        values[key] = torch.tensor(list(value.encode())) if is_text else torch.as_tensor(value)
    return values


CASES = {
    "adam": (Adam, Cusum, "magnitude"),
    "adagrad": (lambda params, lr: Adagrad(params, 3 * lr), Adwin, "taylor"),
    "momentum": (lambda params, lr: SGD(params, 10 * lr, momentum=0.9), Cusum, "taylor"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_resumed_before_in_and_after_readjustments_ends_bit_identical(case: str) -> None:
    whole, stream = fresh(*CASES[case]), Stream(turns_at=45)
    events, moments = [], {2, 6, 9}  # warm-up, scored window, between two prunes
    for step in range(STEPS):
        happened = run(*whole[:3], stream, 1)
        events.append([_stable(event) for event in happened])
        if happened:
            moments |= {step, step + 1}  # right after it, and a step into the new width
    kinds = [event["kind"] for happened in events for event in happened]
    assert kinds[:3] == ["rows", "shrink", "shrink"]
    assert "grow" in kinds
    live, stream = fresh(*CASES[case]), Stream(turns_at=45)
    for step in range(STEPS):
        happened = [_stable(event) for event in run(*live[:3], stream, 1)]
        assert happened == events[step], step
        if step in moments:
            resumed = fresh(*CASES[case])
            for part, old in zip(resumed[:3], live[:3], strict=True):
                part.load_state_dict(copy.deepcopy(old.state_dict()))
            live = resumed
            assert live[3]["user"].capacity == 500
    wanted, found = outcome(*whole[:3]), outcome(*live[:3])
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(found[key], value), key


def _stable(event: Any) -> dict[str, Any]:
    return {key: value for key, value in event.record().items() if key != "seconds"}


def test_saving_changes_nothing() -> None:
    quiet, saving = fresh(*CASES["adam"]), fresh(*CASES["adam"])
    run(*quiet[:3], Stream(turns_at=45), STEPS)
    stream = Stream(turns_at=45)
    for _ in range(STEPS):
        run(*saving[:3], stream, 1)
        saving[0].state_dict()
    wanted, found = outcome(*quiet[:3]), outcome(*saving[:3])
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_a_state_of_another_model_policy_or_detector_is_refused() -> None:
    controller, _, _ = make()
    state = controller.state_dict()
    other, _, _ = make(Static())
    with pytest.raises(ConfigError, match="policy is 'ADS', not Static"):
        other.load_state_dict(state)
    watched, _, _ = make(FAST, drift=DriftMonitor())
    with pytest.raises(ConfigError, match="drift detection"):
        watched.load_state_dict(state)
    with pytest.raises(ConfigError, match="groups"):
        controller.load_state_dict({**state, "live/groups": "{}"})


def test_the_state_holds_plain_values_only() -> None:
    controller, model, optimizer, _ = fresh(*CASES["adam"])
    run(controller, model, optimizer, Stream(), 20)
    for key, value in controller.state_dict().items():
        assert type(value) in (torch.Tensor, int, float, str, bytes), key
