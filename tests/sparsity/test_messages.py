"""What somebody is told who has wired the plugin up wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_controller import Stream, make, run
from torch import Tensor, nn
from torch.optim import Adafactor, Adam

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity import (
    ADS,
    Budget,
    DSLUnits,
    Guardrail,
    RigL,
    SparsityController,
    Static,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": ADS}, r"policy = ADS: is a class: give one with its settings: ADS\(\.\.\.\)"),
        ({"policy": RigL(anneal_steps=9)}, "single weights .* go with ElementController"),
        ({"budget": 0.2}, r"budget = 0.2: must be a Budget, such as Budget\(macs=0.2\)"),
        ({"example": 3}, "example: needs a batch as the model takes it"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": [0, 1], "scores": [0.2, 1.7]}, "scores must be probabilities.*sigmoid"),
        ({"labels": [-1, 1], "scores": [0.2, 0.7]}, "labels must be 0 or 1, or NaN"),
        ({"loss": torch.ones(5)}, "loss has 5 values: give the batch's mean loss"),
        (
            {"labels": [0, 1], "scores": [0.2, 0.7], "reference": [0.2, np.nan]},
            "reference: some are not a number",
        ),
    ],
)
def test_values_that_would_mislead_drift_detection_are_refused(
    given: dict[str, Any], message: str
) -> None:
    controller, _, _ = make()
    with pytest.raises(ConfigError, match=message):
        controller.step(**{k: np.array(v) if isinstance(v, list) else v for k, v in given.items()})


def test_an_optimizer_whose_state_cannot_follow_is_refused_at_the_first_step() -> None:
    controller, model, optimizer = make(optimizer=Adafactor)
    with pytest.raises(RunError, match=r"Adafactor: state 'row_var' .* use an optimizer with"):
        run(controller, model, optimizer, Stream(), 1)


class Remembering(nn.Module):
    """Keeps an activation of its last pass, which deepcopy cannot copy."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.layers[:2](x)
        return self.layers[2](self.last).squeeze(1)


def test_a_model_that_cannot_be_copied_in_training_has_no_guardrail() -> None:
    torch.manual_seed(0)
    model = Remembering()
    optimizer = Adam(model.parameters())
    controller = SparsityController(
        model,
        optimizer,
        policy=Static(warmup_rows=100),
        budget=Budget(macs=0.5),
        example=torch.randn(4, 5),
        window_rows=50,
        guardrail=Guardrail(),
    )

    def learn() -> None:
        for _ in range(4):
            labels = torch.randint(0, 2, (50,)).float()
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(
                model(torch.randn(50, 5)), labels
            ).backward()
            optimizer.step()
            controller.step(labels=labels)

    with pytest.raises(RunError, match=r"Remembering cannot be copied.*leave the guardrail out"):
        learn()


def test_the_start_is_told_once_though_the_first_batches_are_empty() -> None:
    controller, _, _ = make(DSLUnits(anneal_rows=10_000))
    none = np.empty(0)
    assert controller.step(labels=none, scores=none) == ()
    assert [event.kind for event in controller.step(rows=np.int64(50))] == ["shrink"]
    assert controller.step(labels=none, scores=none) == ()
    assert type(controller.state_dict()["rows"]) is int  # as checkpoints want it
