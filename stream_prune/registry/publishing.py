"""When a run's models are published by themselves, and what they must hold."""

from __future__ import annotations

from dataclasses import dataclass

from stream_prune.errors import ConfigError
from stream_prune.registry.gates import Gates

DEFAULT_GATES = Gates()


@dataclass(frozen=True)
class Publishing:
    """Publications of a run. Each starts from a durable checkpoint, in a process of its own.

    Args:
        every_windows: the first checkpoint after so many learned windows is published; None: none.
        after_readjustment: so is the first one after the model has reached its budget again.
        at_end: so is the last one.
        spool: artifacts that may wait for a registry that does not answer; beyond that the oldest
            of them is dropped, and told.
        deltas: after a whole artifact, so many are published as what has changed since it; whoever
            pulls one fetches the whole one too. For large tables of which few rows change.
        gates: what a model must hold to become champion.

    Raises:
        ConfigError: a value out of its range, by name.
    """

    every_windows: int | None = None
    after_readjustment: bool = False
    at_end: bool = False
    spool: int = 8
    deltas: int = 0
    gates: Gates = DEFAULT_GATES

    def __post_init__(self) -> None:
        if self.every_windows is not None and self.every_windows < 1:
            raise ConfigError(
                f"publish.every_windows = {self.every_windows}: must be 1 or more, or left out"
            )
        if self.deltas < 0:
            raise ConfigError(f"publish.deltas = {self.deltas}: must be 0 or more")
        if self.spool < 1:
            raise ConfigError(f"publish.spool = {self.spool}: must be 1 or more")

    @property
    def by_itself(self) -> bool:
        """Whether anything is published without being asked for."""
        return self.every_windows is not None or self.after_readjustment or self.at_end
