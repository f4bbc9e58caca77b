"""RigL: drop by magnitude, grow by gradient, for most of the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.element_policy import annealed, check_schedule
from stream_prune.sparsity.policies.policy import Keep, Rewire


class RigLState(NamedTuple):
    """Training steps taken."""

    step: int


@dataclass(frozen=True)
class RigL:
    """Sparse from random initialisation, rewired until the mask is left to settle.

    Attributes:
        anneal_steps: T_end, the training step at which rewiring ends (paper: 3/4 of the run).
        every: training steps between two rewirings.
        fraction: alpha, share of the kept weights that the first rewirings replace.

    Pseudo-code::

        M <- random mask, densities by ERK;  W <- W * M
        for step t:
            optimizer step on M * gradient;  W <- W * M
            if t % every == 0 and t < T_end:
                f = alpha / 2 * (1 + cos(pi * t / T_end))
                per tensor: drop the ceil(f * nnz) smallest |w|
                            grow as many where M == 0, by |gradient|;  new weights are 0

    Source: Evci et al., Rigging the Lottery: making all tickets winners (arXiv 1911.11134),
    section 3 and algorithm 1.

    Differs from the paper in: a step that rewires also trains (there it takes the place of the
    optimizer's step), the dropped share is rounded up, kept weights start scaled up, optimizer
    state of dropped weights is cleared, and no row loses its last weight. Whether the first layer
    stays dense is left to the user, who may name the tensors.
    """

    anneal_steps: int
    every: int = 100
    fraction: float = 0.3

    def __post_init__(self) -> None:
        check_schedule("rigl", every=self.every, fraction=self.fraction)
        if self.anneal_steps < 1:
            raise ConfigError(f"rigl.anneal_steps = {self.anneal_steps}: must be at least 1")

    @property
    def densities(self) -> Literal["erk"]:
        return "erk"

    def initial(self) -> RigLState:
        return RigLState(0)

    def wants_gradient(self, state: RigLState) -> bool:
        return self._rewires_at(state.step + 1)

    def step(self, state: RigLState) -> tuple[RigLState, Keep | Rewire]:
        state = RigLState(state.step + 1)
        if not self._rewires_at(state.step):
            return state, Keep()
        fraction = annealed(self.fraction, 0.0, state.step, self.anneal_steps)
        return state, Rewire(fraction, "gradient", "clock")

    def _rewires_at(self, step: int) -> bool:
        return step % self.every == 0 and step < self.anneal_steps
