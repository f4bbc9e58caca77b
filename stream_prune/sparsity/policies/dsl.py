"""DSL: dynamic sparse learning, sparse from random initialisation under a constant budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.element_policy import annealed, check_schedule
from stream_prune.sparsity.policies.policy import Keep, Rewire


class DSLState(NamedTuple):
    """Training steps taken."""

    step: int


@dataclass(frozen=True)
class DSL:
    """Drop small weights, grow where the gradient is large, ever fewer of them.

    Attributes:
        anneal_steps: T, training steps over which the fraction falls. In the paper the whole run;
            a stream has no end, so name one. From then on the fraction stays at its end.
        every: training steps between two rewirings (paper: MultVAE 100, NeuMF 2000, LightGCN 3000).
        fraction: f0, share of the kept weights that the first rewirings replace.
        fraction_end: f_min, the share at the end.
        densities: "uniform": every tensor has the budget's density, as in the paper; "erk": small
            and narrow layers keep more.
        accumulate: training steps, the last before each rewiring, whose gradients are added up
            for growing; 1: that of one mini-batch, as in the paper.

    Pseudo-code::

        M <- random mask of the budget's density, per tensor;  W <- W * M
        for step t:
            optimizer step on M * gradient;  W <- W * M
            if t % every == 0:
                f = f_min + (f0 - f_min) / 2 * (1 + cos(pi * t / T)),  f_min from T on
                per tensor: drop the ceil(f * nnz) smallest |w|
                            grow as many where M == 0, by |gradient|;  new weights are 0

    Source: Dynamic Sparse Learning: a novel paradigm for efficient recommendation (arXiv
    2402.02855) and its official code. ``densities`` and ``accumulate`` follow two of the mends of
    SparseRec (arXiv 2411.12205), which finds uniform random masks and growth by a single
    mini-batch wanting. How SparseRec chooses its masks and over how many steps it adds up is not
    known here: ERK is RigL's spread, and the sum is of signed gradients, so it is the gradient of
    the steps' mini-batches together.

    Differs from the paper in: a mask has exactly the budget's number of weights (there a coin is
    tossed for each, so the number varies), kept weights start scaled up, vectors (biases) stay
    dense unless they are named (there every tensor is masked), optimizer state of dropped weights
    is cleared and does not build up again (in the official code the moments of pruned weights go
    on), and no row loses its last weight. No figure of the paper is claimed.

    >>> dsl = DSL(anneal_steps=100, every=50, fraction_end=0.1)
    >>> state = dsl.initial()
    >>> for _ in range(50):
    ...     state, decision = dsl.step(state)
    >>> round(decision.fraction, 3), decision.grow
    (0.3, 'gradient')
    """

    anneal_steps: int
    every: int = 100
    fraction: float = 0.5
    fraction_end: float = 0.005
    densities: Literal["uniform", "erk"] = "uniform"
    accumulate: int = 1

    def __post_init__(self) -> None:
        check_schedule("dsl", every=self.every, fraction=self.fraction)
        if self.anneal_steps < 1:
            raise ConfigError(f"dsl.anneal_steps = {self.anneal_steps}: must be at least 1")
        if not 0 <= self.fraction_end <= self.fraction:
            raise ConfigError(
                f"dsl.fraction_end = {self.fraction_end}: must be in [0, fraction = "
                f"{self.fraction}]"
            )
        if self.densities not in ("uniform", "erk"):
            raise ConfigError(f"dsl.densities = {self.densities!r}: must be uniform or erk")
        if not 1 <= self.accumulate <= self.every:
            raise ConfigError(
                f"dsl.accumulate = {self.accumulate}: must be in [1, every = {self.every}]"
            )

    def initial(self) -> DSLState:
        return DSLState(0)

    def wants_gradient(self, state: DSLState) -> bool:
        return -(state.step + 1) % self.every < self.accumulate

    def step(self, state: DSLState) -> tuple[DSLState, Keep | Rewire]:
        state = DSLState(state.step + 1)
        fraction = annealed(self.fraction, self.fraction_end, state.step, self.anneal_steps)
        if state.step % self.every or not fraction:
            return state, Keep()
        return state, Rewire(fraction, "gradient", "clock")
