"""AMGP: alternate growth and pruning of a run of known length, which ends at full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.policy import Decision, Grow, Keep, Observation, Shrink


class AMGPState(NamedTuple):
    """Examples seen, and whether the model is pruned (0 or 1)."""

    rows: int
    pruned: int


@dataclass(frozen=True)
class AMGP:
    """Cheaper offline training: narrow for a share of every cycle, grown for the rest of it.

    The budget's share of MACs is its width while pruned. What it saves is training compute; the
    model that comes out is a full one, ready for online training.

    Attributes:
        total_rows: labelled examples that the run will learn. A shorter run may end pruned, a
            longer one goes on at full size.
        warmup_rows: examples learned at full width before the first cycle.
        cycles: how often it is pruned and grown; they share the rest of the run equally.
        prune_share: share of each cycle's examples that is learned pruned. Both parts of a cycle
            should be many windows long, for sizes change at the end of a window.
        rate_sparse: learning-rate multiplier while pruned.

    Pseudo-code, called at the end of every window::

        length = (total_rows - warmup_rows) / cycles
        warm-up:     train at full width for warmup_rows
        every cycle: score the units in a window, keep the best within the budget
                     train cheaply for prune_share * length
                     grow to full width: restore weights and optimizer state
                     train for the rest of length
        the last cycle ends grown, at total_rows

    Source: Alternate Model Growth and Pruning for efficient training of recommendation systems
    (arXiv 2105.01064). Its text was available as the abstract only. From the paper: structured
    pruning and growing in turns during offline training, so that training is cheaper, and an end
    at full size, so that a full model enters online training.

    Differs from the paper in what of it could not be read, which is the project's own choice here:
    the criterion (the controller's), which layers are pruned (every exact group, one global
    threshold), the lengths of the phases, the raised rate, and that units are restored as they were
    when they were pruned (on the flights, one seed, the run's NE was .9372 so, and .9417 where
    they came back with outgoing weights of zero). No figure of the paper is claimed.

    >>> amgp, kinds = AMGP(total_rows=900, warmup_rows=100, cycles=2), []
    >>> state = amgp.initial(budget=0.25)
    >>> for _ in range(9):
    ...     state, decision = amgp.step(state, Observation(100, 1.0, 0.25, True, False))
    ...     kinds.append(type(decision).__name__)
    >>> [kind for kind in kinds if kind != "Keep"], bool(state.pruned)
    (['Shrink', 'Grow', 'Shrink', 'Grow'], False)
    """

    rows_from_start: ClassVar[bool] = True
    starts_sparse: ClassVar[bool] = False

    total_rows: int
    warmup_rows: int = 50_000
    cycles: int = 4
    prune_share: float = 0.5
    rate_sparse: float = 2.0

    def __post_init__(self) -> None:
        if self.warmup_rows < 0:
            raise ConfigError(f"amgp.warmup_rows = {self.warmup_rows}: must not be negative")
        if self.total_rows <= self.warmup_rows:
            raise ConfigError(
                f"amgp.total_rows = {self.total_rows}: must be above warmup_rows = "
                f"{self.warmup_rows}"
            )
        if self.cycles < 1:
            raise ConfigError(f"amgp.cycles = {self.cycles}: must be at least 1")
        if not 0 < self.prune_share < 1:
            raise ConfigError(f"amgp.prune_share = {self.prune_share}: must be in (0, 1)")
        if not self.rate_sparse > 0:
            raise ConfigError(f"amgp.rate_sparse = {self.rate_sparse}: must be positive")

    def initial(self, budget: float) -> AMGPState:
        if budget == 1:
            raise ConfigError("budget.macs = 1.0: must be below 1 for amgp, or nothing is pruned")
        return AMGPState(0, 0)

    def wants_scores(self, state: AMGPState, window_rows: int) -> bool:
        return not state.pruned and self._prunes_at(state.rows + window_rows)

    def step(self, state: AMGPState, observation: Observation) -> tuple[AMGPState, Decision]:
        state = state._replace(rows=max(state.rows + observation.rows, observation.seen))
        if self._prunes_at(state.rows):
            if state.pruned or not observation.scored:
                return state, Keep()
            trigger = "warm-up" if self._cycle(state.rows) < 1 else "clock"
            decision = Shrink(observation.budget, trigger, settles=True)
            return state._replace(pruned=1), decision
        if state.pruned:
            return state._replace(pruned=0), Grow(1.0, "clock")
        return state, Keep()

    @property
    def part_rows(self) -> int:
        """Examples in the shorter part, pruned or grown, of a cycle."""
        share = min(self.prune_share, 1 - self.prune_share)
        return int((self.total_rows - self.warmup_rows) / self.cycles * share)

    def rate(self, state: AMGPState) -> float:
        return self.rate_sparse if state.pruned else 1.0

    def _cycle(self, rows: int) -> float:
        """The cycle after so many examples, as a number that rises by one from one to the next."""
        return (rows - self.warmup_rows) * self.cycles / (self.total_rows - self.warmup_rows)

    def _prunes_at(self, rows: int) -> bool:
        cycle = self._cycle(rows)
        return 0 <= cycle < self.cycles and cycle % 1 < self.prune_share
