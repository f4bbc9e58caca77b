"""SET: sparse evolutionary training, which grows at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream_prune.sparsity.policies.element_policy import check_schedule
from stream_prune.sparsity.policies.policy import Keep, Rewire


class SETState(NamedTuple):
    """Training steps taken."""

    step: int


@dataclass(frozen=True)
class SET:
    """The baseline of dynamic sparse training: it needs no dense gradient.

    Attributes:
        every: training steps between two rewirings (paper: an epoch, which a stream has not; the
            default is RigL's, so that the two compare).
        fraction: zeta, share of the kept weights that every rewiring replaces.

    Pseudo-code::

        M <- random mask, densities by ERK;  W <- W * M
        for step t:
            optimizer step on M * gradient;  W <- W * M
            if t % every == 0, per tensor: drop the ceil(zeta * nnz) smallest |w|
                                           grow as many at random;  new weights are 0

    Source: Mocanu et al., Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science (arXiv 1707.04780), algorithm 1.

    Differs from the paper in: there the smallest positive and the largest negative weights are
    dropped, each a share of their own sign, and grown weights are random; here the smallest |w| of
    both signs go and new weights are 0, as with RigL and DSL. Kept weights start scaled up,
    optimizer state of dropped weights is cleared, and no row loses its last weight.
    """

    every: int = 100
    fraction: float = 0.3

    def __post_init__(self) -> None:
        check_schedule("set", every=self.every, fraction=self.fraction)

    @property
    def densities(self) -> Literal["erk"]:
        return "erk"

    def initial(self) -> SETState:
        return SETState(0)

    def wants_gradient(self, state: SETState) -> bool:
        del state
        return False

    def step(self, state: SETState) -> tuple[SETState, Keep | Rewire]:
        state = SETState(state.step + 1)
        if state.step % self.every:
            return state, Keep()
        return state, Rewire(self.fraction, "random", "clock")
