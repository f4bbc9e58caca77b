"""What a training run is told of drift detection."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_prune.drift.adwin import Adwin
from stream_prune.drift.cusum import Cusum
from stream_prune.drift.detector import Detector
from stream_prune.drift.monitor import DriftMonitor
from stream_prune.drift.page_hinkley import PageHinkley
from stream_prune.errors import ConfigError
from stream_prune.training.own_parts import part
from stream_prune.training.ranges import at_least

DETECTORS: dict[str, type[Detector]] = {"cusum": Cusum, "adwin": Adwin, "page_hinkley": PageHinkley}


@dataclass(frozen=True)
class DriftConfig:
    """The drift monitor: a detector fed with the mean loss of slices of the stream.

    Attributes:
        detector: cusum, adwin or page_hinkley; or your own, as
            ``package.module:Name``.
        parameters: the detector's own settings.
        slice_rows: labelled rows per slice.
        cooldown_rows: rows that the detector does not see at the start, after an alarm and after
            the model was resized.
    """

    detector: str = "cusum"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    slice_rows: int = 512
    cooldown_rows: int = 8192

    def __post_init__(self) -> None:
        at_least(1, slice_rows=self.slice_rows)
        at_least(0, cooldown_rows=self.cooldown_rows)
        self.build_monitor()  # its settings are wrong now or never

    def build_monitor(self) -> DriftMonitor:
        """The monitor with its detector."""
        kind = part("detector", self.detector, DETECTORS)
        known = list(inspect.signature(kind).parameters)
        for name in self.parameters:
            if name not in known:
                raise ConfigError(f"parameters.{name}: unknown key; known are {', '.join(known)}")
        try:
            detector = kind(**self.parameters)
        except (ConfigError, ValueError, TypeError) as error:
            raise ConfigError(f"parameters: {error}") from None
        return DriftMonitor(detector, self.slice_rows, self.cooldown_rows)
