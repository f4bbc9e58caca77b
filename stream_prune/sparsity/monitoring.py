"""Monitoring: what the training loop tells of the live model, step by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from stream_prune.errors import ConfigError
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.paired import as_floats, logloss
from stream_prune.sparsity.reference import StandingReference
from stream_prune.sparsity.watch import Monitor, Signal, Values
from stream_prune.stateful import State


class Monitoring:
    """Hands each batch's labels and scores to drift detection and to the standing reference.

    Args:
        drift: None: the stream is never said to have moved.
        window_rows: examples per window of the policy.

    Attributes:
        reference: the comparison with a model trained beside the live one.
    """

    def __init__(self, drift: Monitor | None, window_rows: int) -> None:
        self._drift, self.reference = drift, StandingReference(window_rows)
        self._loss: float | Tensor = 0.0
        self._rows = 0

    def observe(
        self,
        loss: float | Tensor | None,
        labels: Values | None,
        scores: Values | None,
        reference: Values | None,
        rows: int,
    ) -> Signal | None:
        """Take in a batch of ``rows`` examples; answers the drift monitor's signal.

        Raises:
            ConfigError: what drift detection or the reference needs is missing or does not fit.
        """
        if labels is not None and scores is not None:
            return self._observe_rows(as_floats(labels), as_floats(scores), reference)
        if reference is not None:
            raise ConfigError("controller.step: a reference needs labels and scores beside it")
        if loss is not None:
            if isinstance(loss, Tensor) and loss.numel() != 1:
                raise ConfigError(
                    f"controller.step: loss has {loss.numel()} values: give the batch's mean loss"
                )
            told = loss.detach().double() if isinstance(loss, Tensor) else float(loss)
            self._loss, self._rows = self._loss + told * rows, self._rows + rows
            return None if self._drift is None else self._drift.observe_loss(float(told), rows)
        if self._drift is not None:
            raise ConfigError(
                "controller.step: drift detection needs labels and scores, or the loss"
            )
        return None

    def _observe_rows(self, labels: Any, scores: Any, reference: Values | None) -> Signal | None:
        _check_length("scores", scores, len(labels))
        _check_probabilities("scores", scores)
        known = ~np.isnan(labels)
        if (known & (labels != 0) & (labels != 1)).any():
            raise ConfigError("controller.step: labels must be 0 or 1, or NaN where unknown")
        self._loss = self._loss + float(logloss(labels[known], scores[known]).sum())
        self._rows += int(known.sum())
        if reference is not None:
            beside = as_floats(reference)
            _check_length("reference", beside, len(labels))
            _check_probabilities("reference", beside)
            if np.isnan(beside).any():
                raise ConfigError(
                    "controller.step: reference: some are not a number: leave it out of this step"
                )
            self.reference.observe(labels[known], scores[known], beside[known])
        return None if self._drift is None else self._drift.observe(labels, scores)

    @property
    def window_loss(self) -> float:
        """Mean loss of the window's labelled examples so far; NaN before the first."""
        return float(self._loss) / self._rows if self._rows else math.nan

    def new_window(self) -> None:
        """The policy has looked; its next window begins."""
        self._loss, self._rows = 0.0, 0

    def resized(self) -> None:
        """The live model is another now, and its loss moves for that reason."""
        self.reference.resized()
        if self._drift is not None:
            self._drift.reset()

    def state_dict(self) -> State:
        state: State = {"loss": float(self._loss), "rows": self._rows}
        state |= nested("reference", self.reference.state_dict())
        if self._drift is not None:
            state |= nested("drift", self._drift.state_dict())
        return state

    def load_state_dict(self, state: State) -> None:
        """Raises ConfigError when the state is one with another kind of drift detection."""
        drift = part_of(state, "drift")
        if bool(drift) != (self._drift is not None):
            raise ConfigError("saved controller: drift detection is on in one and off in the other")
        values: dict[str, Any] = dict(state)
        self._loss, self._rows = float(values["loss"]), int(values["rows"])
        self.reference.load_state_dict(part_of(state, "reference"))
        if self._drift is not None:
            self._drift.load_state_dict(drift)


def _check_probabilities(name: str, values: Any) -> None:
    if ((values < 0) | (values > 1)).any():
        raise ConfigError(
            f"controller.step: {name} must be probabilities, and some lie outside of [0, 1]: apply "
            "a sigmoid to logits"
        )


def _check_length(name: str, values: Any, rows: int) -> None:
    if len(values) != rows:
        raise ConfigError(
            f"controller.step: {len(values)} {name} for {rows} labels: give one per example, of "
            "the same examples in the same order"
        )
