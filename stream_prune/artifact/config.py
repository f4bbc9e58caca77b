"""How an artifact's rows are stored, and how much that may cost."""

from __future__ import annotations

from dataclasses import dataclass

from stream_prune.artifact.stored_rows import NUMBERS
from stream_prune.errors import ConfigError


@dataclass(frozen=True)
class ArtifactConfig:
    """What embedding rows become on their way to serving.

    Args:
        rows: ``float32`` (as trained), ``float16`` (half the bytes) or ``int8`` (a byte a number,
            and a scale and an offset a row).
        logit_tolerance: what the rounding may change in a logit, relative to max(1, |logit|), on
            rows like the example's; more, and nothing is written.
        ne_loss: what the rounding may add to the normalized entropy of the last windows, as a
            share of it; more, and nothing is written.

    Raises:
        ConfigError: a value out of its range, by name.
    """

    rows: str = "float32"
    logit_tolerance: float = 0.2
    ne_loss: float = 0.0005

    def __post_init__(self) -> None:
        if self.rows not in NUMBERS:
            raise ConfigError(f"artifact.rows = {self.rows!r}: must be one of {', '.join(NUMBERS)}")
        for name in ("logit_tolerance", "ne_loss"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"artifact.{name} = {getattr(self, name)}: must be more than 0")
