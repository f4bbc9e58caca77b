"""What a training run is told of drift detection."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_prune.drift.adwin import Adwin
from stream_prune.drift.cusum import Cusum
from stream_prune.drift.ddm import Ddm, Eddm, HddmA, HddmW
from stream_prune.drift.detector import Detector
from stream_prune.drift.id_churn import IdChurn
from stream_prune.drift.input_monitor import InputMonitor, Statistic
from stream_prune.drift.kswin import Kswin
from stream_prune.drift.mewma import ALPHA, WEIGHTS, Mewma
from stream_prune.drift.monitor import DriftMonitor
from stream_prune.drift.page_hinkley import PageHinkley
from stream_prune.drift.population import DensePopulation, ScorePopulation
from stream_prune.drift.residuals import ResidualMonitor
from stream_prune.drift.vote import Vote
from stream_prune.errors import ConfigError
from stream_prune.training.own_parts import part
from stream_prune.training.ranges import at_least, one_of

DETECTORS: dict[str, type[Detector]] = {
    "adwin": Adwin,
    "cusum": Cusum,
    "ddm": Ddm,
    "eddm": Eddm,
    "hddm_a": HddmA,
    "hddm_w": HddmW,
    "kswin": Kswin,
    "page_hinkley": PageHinkley,
    "vote": Vote,
}
STATISTICS: dict[str, type[Statistic]] = {
    "dense": DensePopulation,
    "ids": IdChurn,
    "scores": ScorePopulation,
}


@dataclass(frozen=True)
class InputConfig:
    """A label-free monitor: a detector fed with a statistic of slices of what is scored.

    Attributes:
        detector: of the statistic.
        parameters: the detector's own settings; by default a cusum for rising values.
        slice_rows: scored rows per slice.
        memory: slices that the statistic remembers; None: its own default.
    """

    detector: str = "cusum"
    parameters: Mapping[str, Any] | None = None
    slice_rows: int = 512
    memory: int | None = None

    def build(self, name: str) -> InputMonitor:
        """The monitor of ``dense``, ``ids`` or ``scores``."""
        statistic = STATISTICS[name](*(() if self.memory is None else (self.memory,)))
        given = self.parameters
        if given is None:
            given = {"rising_only": True} if self.detector == "cusum" else {}
        return InputMonitor(statistic, build_detector(self.detector, given), self.slice_rows)


@dataclass(frozen=True)
class ResidualConfig:
    """Detection on residuals times dense inputs, which hears drifts that the loss is too noisy for.

    Attributes:
        alpha: chance of an alarm at one slice and one weight where nothing moves; smaller alarms
            less.
        weights: of the newest slice in the means that are held against the ones before.
        slice_rows: labelled rows per slice.
        memory: slices that means and covariances remember.
    """

    alpha: float = ALPHA
    weights: tuple[float, ...] = WEIGHTS
    slice_rows: int = 128
    memory: int = 1024

    def build(self) -> ResidualMonitor:
        """The monitor."""
        detector = Mewma(self.alpha, self.weights, self.memory)
        return ResidualMonitor(detector, self.slice_rows, self.memory)


@dataclass(frozen=True)
class DriftConfig:
    """The drift monitor: a detector fed with the mean loss of slices of the stream.

    Attributes:
        detector: adwin, cusum, ddm, eddm, hddm_a, hddm_w, kswin, page_hinkley; ``vote`` of several
            of them; or your own, as ``package.module:Name``.
        parameters: the detector's own settings; of a vote ``detectors``: each one's settings by its
            name.
        slice_rows: labelled rows per slice.
        cooldown_rows: rows that the detector does not see at the start, after an alarm and after
            the model was resized.
        inputs: label-free monitors of ``dense`` inputs, ``ids`` or ``scores``.
        residuals: beside the loss, what the model gets wrong together with the dense inputs; None:
            not watched.
        need: so many of the loss, the residuals and the inputs' monitors must alarm.
        within_rows: learned rows for which the alarm of one counts.
    """

    detector: str = "cusum"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    slice_rows: int = 512
    cooldown_rows: int = 8192
    inputs: Mapping[str, InputConfig] = field(default_factory=dict)
    residuals: ResidualConfig | None = None
    need: int = 1
    within_rows: int = 4096

    def __post_init__(self) -> None:
        at_least(1, slice_rows=self.slice_rows)
        at_least(0, cooldown_rows=self.cooldown_rows)
        for name in self.inputs:
            one_of(tuple(STATISTICS), inputs=name)
        self.build_monitor()  # its settings are wrong now or never

    def build_monitor(self) -> DriftMonitor:
        """The monitor with its detector."""
        return DriftMonitor(
            build_detector(self.detector, self.parameters),
            self.slice_rows,
            self.cooldown_rows,
            {name: monitor.build(name) for name, monitor in self.inputs.items()},
            self.need,
            self.within_rows,
            None if self.residuals is None else self.residuals.build(),
        )


def build_detector(name: str, parameters: Mapping[str, Any]) -> Detector:
    """A detector with its settings.

    Raises:
        ConfigError: there is no such detector or setting, or one is out of range.
    """
    kind: type[Detector] = part("detector", name, DETECTORS)
    known = list(inspect.signature(kind).parameters)
    for key in parameters:
        if key not in known:
            raise ConfigError(f"parameters.{key}: unknown key; known are {', '.join(known)}")
    if kind is Vote:
        voters = parameters.get("detectors")
        if not isinstance(voters, Mapping):
            raise ConfigError(
                "parameters.detectors: must name the voters, each with its settings, as in "
                "{cusum: {}, page_hinkley: {}}"
            )
        members = [build_detector(voter, given or {}) for voter, given in voters.items()]
        parameters = {**parameters, "detectors": members}
    try:
        return kind(**parameters)
    except (ConfigError, ValueError, TypeError) as error:
        raise ConfigError(f"parameters: {error}") from None
