"""What a training run is told of the controller: budget, policy, criterion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_prune.errors import ConfigError
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.criteria import CRITERIA, Activations, Criterion, Steps, Weights
from stream_prune.sparsity.guardrail import Guardrail
from stream_prune.sparsity.policies.ads import ADS
from stream_prune.sparsity.policies.ads_shadow import ADSShadow
from stream_prune.sparsity.policies.amgp import AMGP
from stream_prune.sparsity.policies.dsl_units import DSLUnits
from stream_prune.sparsity.policies.policy import Policy
from stream_prune.sparsity.policies.rate_on_drift import RateOnDrift
from stream_prune.sparsity.policies.static import Static
from stream_prune.training.dataclass_reader import read
from stream_prune.training.own_parts import part
from stream_prune.training.ranges import at_least

POLICIES: dict[str, type[Policy[Any]]] = {
    "ads": ADS,
    "ads_shadow": ADSShadow,
    "amgp": AMGP,
    "dsl_units": DSLUnits,
    "rate_on_drift": RateOnDrift,
    "static": Static,
}


@dataclass(frozen=True)
class SparsityConfig:
    """The controller's settings.

    Attributes:
        budget: what a settled plan may cost.
        policy: ads (adaptive), ads_shadow, amgp, dsl_units, rate_on_drift or static; or your own,
            a frozen dataclass, as ``package.module:Name``.
        parameters: the policy's own settings.
        criterion: taylor, magnitude, movement or activation_variance; or your own, a Weights, Steps
            or Activations of :mod:`stream_prune.sparsity.criteria`, as ``package.module:name``.
        window_rows: rows between two decisions.
        guardrail: compares every re-adjustment with the model before it; None: nothing does.
    """

    budget: Budget
    policy: str = "ads"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    criterion: str = "taylor"
    window_rows: int = 4096
    guardrail: Guardrail | None = None

    def __post_init__(self) -> None:
        self.find_criterion()
        at_least(1, window_rows=self.window_rows)
        policy = self.build_policy()  # its settings are wrong now or never
        if isinstance(policy, AMGP) and policy.part_rows < self.window_rows:
            raise ConfigError(
                f"parameters.total_rows = {policy.total_rows}: {policy.cycles} cycles of it have "
                f"parts of {policy.part_rows} rows, which must be window_rows = "
                f"{self.window_rows} or more"
            )

    def build_policy(self) -> Policy[Any]:
        """The policy with its settings."""
        kind: Any = part("policy", self.policy, POLICIES)
        if not all(hasattr(kind, name) for name in ("__dataclass_fields__", "wants_scores")):
            raise ConfigError(
                f"policy = {self.policy!r}: must be a frozen dataclass with the methods of "
                "stream_prune.sparsity.policies.policy.Policy"
            )
        policy: Policy[Any] = read(kind, self.parameters, "parameters")
        return policy

    def find_criterion(self) -> Criterion:
        """The criterion by its name."""
        found = part("criterion", self.criterion, CRITERIA)
        if not isinstance(found, Weights | Steps | Activations):
            raise ConfigError(
                f"criterion = {self.criterion!r}: must be a Weights, Steps or Activations of "
                "stream_prune.sparsity.criteria"
            )
        return found
