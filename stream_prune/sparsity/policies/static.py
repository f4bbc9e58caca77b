"""Static: pruned once, then fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.policy import Decision, Keep, Observation, Shrink


class StaticState(NamedTuple):
    """Examples seen, and prunes done."""

    rows: int
    step: int


@dataclass(frozen=True)
class Static:
    """The baseline: warm up, prune to the budget, never look at the pattern again.

    Attributes:
        warmup_rows: examples learned at full width (and with all rows) before the first prune.
        shrink_steps: prunes of the descent, one window each, in equal ratios of MACs.
        rate_sparse: learning-rate multiplier at the budget; reached in step with the descent.

    It is the one-shot baseline of the ADS paper (arXiv 2010.08655): prune, then train
    incrementally with a fixed mask. With ``shrink_steps`` above one the descent is gradual.
    """

    rows_from_start: ClassVar[bool] = False
    starts_sparse: ClassVar[bool] = False

    warmup_rows: int = 50_000
    shrink_steps: int = 1
    rate_sparse: float = 1.0

    def __post_init__(self) -> None:
        if self.warmup_rows < 0:
            raise ConfigError(f"static.warmup_rows = {self.warmup_rows}: must not be negative")
        if self.shrink_steps < 1:
            raise ConfigError(f"static.shrink_steps = {self.shrink_steps}: must be at least 1")
        if not self.rate_sparse > 0:
            raise ConfigError(f"static.rate_sparse = {self.rate_sparse}: must be positive")

    def initial(self, budget: float) -> StaticState:
        del budget  # any will do
        return StaticState(0, 0)

    def wants_scores(self, state: StaticState, window_rows: int) -> bool:
        return state.step < self.shrink_steps and state.rows + window_rows >= self.warmup_rows

    def step(self, state: StaticState, observation: Observation) -> tuple[StaticState, Decision]:
        state = state._replace(rows=state.rows + observation.rows)
        if (
            state.step == self.shrink_steps
            or state.rows < self.warmup_rows
            or not observation.scored
        ):
            return state, Keep()
        state = state._replace(step=state.step + 1)
        last = state.step == self.shrink_steps
        density = observation.budget ** (state.step / self.shrink_steps)
        decision = Shrink(
            density=observation.budget if last else density,
            trigger="warm-up" if state.step == 1 else "step",
            settles=last,
        )
        return state, decision

    def rate(self, state: StaticState) -> float:
        return float(self.rate_sparse ** (state.step / self.shrink_steps))
