"""Rate on drift: the size stays, the learning rate is raised for a while when the stream moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.policy import Decision, Keep, Observation


class RateOnDriftState(NamedTuple):
    """Examples still to be learned at the raised rate."""

    left: int


@dataclass(frozen=True)
class RateOnDrift:
    """The baseline for everything that answers drift by growing: a small dense model that hurries.

    Give it a model that is built at the size the others are pruned to, and ``Budget(macs=1)``. It
    never resizes anything; what it has in common with the others is the drift detection and the
    multiplier on the optimizer's rate.

    Attributes:
        raised: learning-rate multiplier after an alarm.
        raised_rows: examples for which it holds, counted anew from every alarm; it goes back to 1
            at the end of a window.

    The project's own. In the trials it was as good as regrowing on two streams of three.

    >>> policy = RateOnDrift(raised=2.0, raised_rows=150)
    >>> state, rates = policy.initial(budget=1.0), []
    >>> for alarm in (False, True, False, False):
    ...     state, _ = policy.step(state, Observation(100, 1.0, 1.0, False, alarm))
    ...     rates.append(policy.rate(state))
    >>> rates
    [1.0, 2.0, 2.0, 1.0]
    """

    rows_from_start: ClassVar[bool] = True
    starts_sparse: ClassVar[bool] = False

    raised: float = 3.0
    raised_rows: int = 32_768

    def __post_init__(self) -> None:
        if not self.raised > 0:
            raise ConfigError(f"rate_on_drift.raised = {self.raised}: must be positive")
        if self.raised_rows < 1:
            raise ConfigError(f"rate_on_drift.raised_rows = {self.raised_rows}: must be at least 1")

    def initial(self, budget: float) -> RateOnDriftState:
        if budget != 1:
            raise ConfigError(
                f"budget.macs = {budget}: must be 1 for rate_on_drift, which never resizes; build "
                "the model at the size that it shall have"
            )
        return RateOnDriftState(0)

    def wants_scores(self, state: RateOnDriftState, window_rows: int) -> bool:
        del state, window_rows
        return False

    def step(
        self, state: RateOnDriftState, observation: Observation
    ) -> tuple[RateOnDriftState, Decision]:
        left = self.raised_rows if observation.alarm else max(0, state.left - observation.rows)
        return RateOnDriftState(left), Keep()

    def rate(self, state: RateOnDriftState) -> float:
        return self.raised if state.left else 1.0
