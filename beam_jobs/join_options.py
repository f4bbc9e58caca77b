"""What the join is told."""

from __future__ import annotations

from dataclasses import dataclass

from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec


@dataclass(frozen=True)
class Conversions:
    """What may follow a click: an impression is a positive only if it does.

    Conversions name their impression as clicks do, in columns of the same names.

    Attributes:
        files: for a replay; each file is a partition.
        topics: for a streaming job.
        attribution_ms: a conversion counts up to so long after its click (ms).
    """

    files: tuple[str, ...]
    attribution_ms: int
    topics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.files) == bool(self.topics):
            raise ConfigError("join.conversions: name files, or for a streaming job topics")
        if self.attribution_ms < 1:
            raise ConfigError(
                f"join.conversions.attribution = {self.attribution_ms}: must be 1 or more"
            )


@dataclass(frozen=True)
class JoinOptions:
    """Impressions get their labels from clicks (or conversions) of the same key.

    Attributes:
        files: of the clicks, for a replay: paths, folders or patterns; each file is a partition.
        topics: of the clicks, for a streaming job, on the brokers of the impressions.
        time: column of a click's event time.
        key: column of the key of the impression that it belongs to.
        attribution_ms: a click counts up to so long after its impression (ms); then an impression
            without one is a negative.
        max_pending: most impressions that wait for their clicks; past it the job stops.
        conversions: of the clicks; None: a click alone makes a positive.
    """

    files: tuple[str, ...]
    time: str
    key: str
    attribution_ms: int
    max_pending: int = 5_000_000
    topics: tuple[str, ...] = ()
    conversions: Conversions | None = None

    def __post_init__(self) -> None:
        if bool(self.files) == bool(self.topics):
            raise ConfigError("join: name its files, or for a streaming job its topics")
        if self.time == self.key:
            raise ConfigError(f"join.key = {self.key!r}: must be another column than join.time")
        for name, value in (
            ("attribution", self.attribution_ms),
            ("max_pending", self.max_pending),
        ):
            if value < 1:
                raise ConfigError(f"join.{name} = {value}: must be 1 or more")

    @property
    def waits_ms(self) -> int:
        """How long after an impression its label may still change (ms)."""
        more = 0 if self.conversions is None else self.conversions.attribution_ms
        return self.attribution_ms + more

    def delay_ms(self, length_ms: int) -> int:
        """From the window whose labels are settled to the one that is being read (ms).

        Args:
            length_ms: of a window.
        """
        return -(-self.waits_ms // length_ms) * length_ms

    def check(self, spec: FeatureSpec) -> None:
        """Raises ConfigError unless it goes with the impressions' columns."""
        if spec.event_key is None:
            raise ConfigError(
                "join: impressions have no key: name its column, features.event_key, which clicks "
                f"have as {self.key!r}"
            )
        if spec.label_delay_ms < self.waits_ms:
            more = "" if self.conversions is None else " and join.conversions.attribution"
            raise ConfigError(
                f"features.label_delay = {spec.label_delay_ms}ms: must be at least "
                f"join.attribution{more} ({self.waits_ms}ms), or a label would be used before it "
                "is known"
            )
