"""Drift detection on a model's loss: slices, a detector, a cooldown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stream_prune.drift.cusum import Cusum
from stream_prune.drift.detector import Detector
from stream_prune.drift.input_monitor import InputMonitor
from stream_prune.drift.residuals import ResidualMonitor
from stream_prune.drift.slices import Slices
from stream_prune.errors import ConfigError
from stream_prune.stateful import State

Values = npt.NDArray[Any] | Tensor

_EPSILON = 1e-7
_LOSS, _RESIDUALS = "loss", "residuals"


class DriftSignal(NamedTuple):
    """What one batch told.

    Attributes:
        alarm: the loss has changed.
        severity: the shift in standard deviations of the slice loss (positive: it rose); 0 without
            an alarm.
        value: mean loss of the latest slice, NaN before the first.
        slices: slices completed so far.
        sources: who has alarmed: ``loss``, ``residuals``, and the inputs' monitors by their names.
    """

    alarm: bool
    severity: float
    value: float
    slices: int
    sources: tuple[str, ...] = ()


class DriftMonitor:
    """Feeds a detector with the mean loss of slices of equal size.

    Args:
        detector: default: :class:`Cusum`.
        slice_rows: labelled examples per slice.
        cooldown_rows: examples that the detector does not see at the start, after an alarm and
            after a reset: the loss moves then for reasons of its own.
        inputs: label-free monitors by name, fed by :meth:`observe_inputs`.
        need: so many of all monitors, that of the loss among them, must alarm.
        within_rows: learned rows for which the alarm of one counts.
        residuals: watches what the model gets wrong beside its inputs, which it is given by
            :meth:`show`; None: nothing does.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        detector: Detector | None = None,
        slice_rows: int = 512,
        cooldown_rows: int = 8192,
        inputs: Mapping[str, InputMonitor] | None = None,
        need: int = 1,
        within_rows: int = 4096,
        residuals: ResidualMonitor | None = None,
    ) -> None:
        self.inputs, self.residuals = dict(inputs or {}), residuals
        self._shown: npt.NDArray[np.float64] | None = None
        monitors = 1 + len(self.inputs) + (residuals is not None)
        if not 1 <= need <= monitors or within_rows < 1:
            raise ConfigError(
                f"drift: need = {need} must be in [1, {monitors}], the number of "
                f"monitors, and within_rows = {within_rows} positive"
            )
        if slice_rows < 1 or cooldown_rows < 0:
            raise ConfigError(
                f"drift: slice_rows = {slice_rows} must be positive and "
                f"cooldown_rows = {cooldown_rows} not negative"
            )
        self.detector: Detector = detector if detector is not None else Cusum()
        self._slices = Slices(slice_rows)
        self._cooldown_rows = cooldown_rows
        self._waiting = cooldown_rows
        self._value = math.nan
        self._count = 0
        self._need, self._within = need, within_rows
        # Per monitor that has alarmed: its severity, and the rows for which that still counts.
        self._votes: dict[str, tuple[float, int]] = {}

    def observe_inputs(self, dense: Values, ids: npt.NDArray[np.int64], scores: Values) -> None:
        """Show a batch to the label-free monitors, when it is scored.

        An alarm is told by the next :meth:`observe`, which need not have these rows' labels.

        Args:
            dense: [B, N].
            ids: [F, B]; of a multi-valued field its first one.
            scores: [B] probabilities.
        """
        for name, monitor in self.inputs.items():
            if monitor.observe(_array(dense), ids, _array(scores)) and self._waiting == 0:
                self._votes[name] = monitor.severity, self._within

    def show(self, dense: Values) -> None:
        """The dense inputs [B, N] of the batch that :meth:`observe` is told of next.

        Only ``residuals`` look at them.
        """
        self._shown = None if self.residuals is None else _array(dense)

    def observe(self, labels: Values, scores: Values) -> DriftSignal:
        """Take in a batch by its logloss, and by its residuals where these are watched.

        Args:
            labels: [B] 0 or 1; NaN where unknown: these examples are left out.
            scores: [B] probabilities given before the batch was learned.

        Raises:
            ConfigError: residuals are watched, and the inputs of these rows were not shown.
        """
        known, predicted = _array(labels), _array(scores)
        mask = ~np.isnan(known)
        self._observe_residuals(known, predicted, mask)
        if not mask.all():
            known, predicted = known[mask], predicted[mask]
        predicted = predicted.clip(_EPSILON, 1 - _EPSILON)
        return self._take(-np.log(np.where(known > 0.5, predicted, 1 - predicted)))

    def observe_loss(self, loss: float, rows: int) -> DriftSignal:
        """Take in a batch by its mean loss, for each of its ``rows`` examples.

        Raises:
            ConfigError: residuals are watched, which need labels and scores.
        """
        if self.residuals is not None:
            raise ConfigError("drift.residuals: needs labels and scores, not the loss alone")
        return self._take(np.full(rows, loss, dtype=np.float64))

    def reset(self) -> None:
        """Start anew, after a cooldown: the model itself has been changed."""
        self.detector.reset()
        for monitor in self.inputs.values():
            if monitor.statistic.of_model:
                monitor.reset()
        self._begin_cooldown()

    def _observe_residuals(
        self,
        labels: npt.NDArray[np.float64],
        scores: npt.NDArray[np.float64],
        known: npt.NDArray[np.bool_],
    ) -> None:
        if self.residuals is None:
            return
        dense, self._shown = self._shown, None
        if dense is None or len(dense) != len(labels):
            raise ConfigError(
                f"drift.residuals: {0 if dense is None else len(dense)} rows of dense inputs were "
                f"shown for {len(labels)} labels: call DriftMonitor.show(dense) with the same rows "
                "right before"
            )
        seen = slice(self._waiting, None)
        found = self.residuals.observe(labels[known][seen], scores[known][seen], dense[known][seen])
        if found and _RESIDUALS not in self._votes:
            self._votes[_RESIDUALS] = self.residuals.severity, self._within

    def _take(self, losses: npt.NDArray[np.float64]) -> DriftSignal:
        skipped = min(self._waiting, len(losses))
        self._waiting -= skipped
        for mean in self._slices.add(losses[skipped:]):
            self._value = mean
            self._count += 1
            if _LOSS not in self._votes and self.detector.update(mean):
                self._votes[_LOSS] = self.detector.severity, self._within
        votes = self._votes
        if len(votes) < self._need:
            left = {name: (found, rows - len(losses)) for name, (found, rows) in votes.items()}
            self._votes = {name: vote for name, vote in left.items() if vote[1] > 0}
            return DriftSignal(False, 0.0, self._value, self._count)
        severity = votes[_LOSS][0] if _LOSS in votes else max(found for found, _ in votes.values())
        self._begin_cooldown()
        return DriftSignal(True, severity, self._value, self._count, tuple(votes))

    def _begin_cooldown(self) -> None:
        self._votes = {}
        self._slices.clear()
        if self.residuals is not None:  # what the model gets wrong is about to be learned
            self.residuals.reset()
        self._waiting = self._cooldown_rows

    def state_dict(self) -> State:
        detector = {f"detector/{key}": value for key, value in self.detector.state_dict().items()}
        inputs: State = {}
        for name, monitor in self.inputs.items():
            inputs |= {f"inputs/{name}/{key}": v for key, v in monitor.state_dict().items()}
        if self.residuals is not None:
            inputs |= {f"residuals/{key}": v for key, v in self.residuals.state_dict().items()}
        return {
            "kind": type(self.detector).__name__,
            "waiting": self._waiting,
            "value": self._value,
            "slices": self._count,
            "slice_count": self._slices.count,
            "slice_total": self._slices.total,
            "votes": json.dumps(self._votes),
            **detector,
            **inputs,
        }

    def load_state_dict(self, state: State) -> None:
        """Raises ConfigError when the state is another detector's."""
        kind = type(self.detector).__name__
        if state["kind"] != kind:
            raise ConfigError(
                f"saved drift detection: its detector is {state['kind']!r}, not {kind}"
            )
        values: dict[str, Any] = dict(state)
        self._waiting, self._count = int(values["waiting"]), int(values["slices"])
        self._value = float(values["value"])
        self._slices.count = int(values["slice_count"])
        self._slices.total = float(values["slice_total"])
        self._votes = {
            name: (vote[0], vote[1]) for name, vote in json.loads(values["votes"]).items()
        }
        self.detector.load_state_dict(_part(state, "detector/"))
        for name, monitor in self.inputs.items():
            monitor.load_state_dict(_part(state, f"inputs/{name}/"))
        if self.residuals is not None:
            self.residuals.load_state_dict(_part(state, "residuals/"))


def _part(state: State, start: str) -> State:
    return {k.removeprefix(start): value for k, value in state.items() if k.startswith(start)}


def _array(values: Values) -> npt.NDArray[np.float64]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
