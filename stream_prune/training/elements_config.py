"""What a training run is told of masks on single weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.dsl import DSL
from stream_prune.sparsity.policies.rigl import RigL
from stream_prune.sparsity.policies.set_evolution import SET
from stream_prune.training.dataclass_reader import read

POLICIES: dict[str, type[DSL] | type[RigL] | type[SET]] = {
    "dsl": DSL,
    "rigl": RigL,
    "set_evolution": SET,
}


@dataclass(frozen=True)
class ElementsConfig:
    """Masks on the matrices of the model's dense part; it gets small at rest, and no cheaper.

    Attributes:
        density: kept share of their weights.
        policy: dsl, rigl or set_evolution.
        parameters: the policy's own settings.
    """

    density: float
    policy: str = "rigl"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise ConfigError(f"density = {self.density}: must be in (0, 1]")
        if self.policy not in POLICIES:
            raise ConfigError(f"policy = {self.policy!r}: must be one of {', '.join(POLICIES)}")
        self.build_policy()  # its settings are wrong now or never

    def build_policy(self) -> DSL | RigL | SET:
        """The policy with its settings."""
        return read(POLICIES[self.policy], self.parameters, "parameters")
