"""What every policy of elements is: when weights are dropped and grown, and what share of them."""

from __future__ import annotations

from math import cos, pi
from typing import Any, Literal, Protocol, TypeVar

from stream_prune.errors import ConfigError
from stream_prune.sparsity.policies.policy import Keep, Rewire

S = TypeVar("S", bound=tuple[Any, ...])


class ElementPolicy(Protocol[S]):
    """When to rewire, and how much; never which weights.

    A policy holds its settings only. Its state is a NamedTuple of numbers that the controller
    keeps, passes in and saves. Its clock is in training steps, as in the papers.
    """

    @property
    def densities(self) -> Literal["uniform", "erk"]:
        """How the budget is spread over the tensors."""
        ...

    def initial(self) -> S:
        """The state before the first step."""
        ...

    def wants_gradient(self, state: S) -> bool:
        """Whether the step about to be taken should be scored for growth."""
        ...

    def step(self, state: S) -> tuple[S, Keep | Rewire]:
        """Called after every training step."""
        ...


def annealed(start: float, end: float, step: int, steps: int) -> float:
    """Half a cosine wave from ``start`` at step 0 to ``end`` at ``steps``, and ``end`` from there.

    >>> [round(annealed(0.5, 0.1, step, 100), 3) for step in (0, 50, 100, 500)]
    [0.5, 0.3, 0.1, 0.1]
    """
    if step >= steps:
        return end
    return end + (start - end) * (1 + cos(pi * step / steps)) / 2


def check_schedule(policy: str, *, every: int, fraction: float) -> None:
    """Raises ConfigError where a rewiring schedule is out of range."""
    if every < 1:
        raise ConfigError(f"{policy}.every = {every}: must be at least 1")
    if not 0 < fraction <= 1:
        raise ConfigError(f"{policy}.fraction = {fraction}: must be in (0, 1]")
