"""What every policy is: a pure function from state and observation to state and decision."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from stream_prune.errors import ConfigError


class Observation(NamedTuple):
    """What a policy sees when a window ends.

    Attributes:
        rows: examples in this window. A window ends early when a drift is signalled.
        share: MACs of the live model as a share of the full one's.
        budget: the share that a settled plan may cost.
        scored: scores of the units were collected in this window.
        alarm: a drift was signalled in it.
        severity: of that drift, in standard deviations of the loss (rising is positive); 0 without.
        worse: a standing reference has been significantly better over the last windows.
        loss: mean loss of this window's labelled examples; NaN where none was labelled.
        seen: examples since the start. More than the windows' sum where a guardrail has taken a
            decision back, or kept the policy from being asked; 0 where it is not known.
    """

    rows: int
    share: float
    budget: float
    scored: bool
    alarm: bool
    severity: float = 0.0
    worse: bool = False
    loss: float = nan
    seen: int = 0


@dataclass(frozen=True)
class Keep:
    """Leave the plan as it is."""


@dataclass(frozen=True)
class Shrink:
    """Remove the least important units.

    Attributes:
        density: share of the full model's MACs to come down to.
        trigger: why, for the record.
        settles: the plan that follows is one the budget must hold for.
    """

    density: float
    trigger: str
    settles: bool


@dataclass(frozen=True)
class Grow:
    """Bring removed units back, with their last weights and optimizer state.

    Attributes:
        density: share of the full model's MACs to go up to.
        trigger: why, for the record.
    """

    density: float
    trigger: str


@dataclass(frozen=True)
class Rewire:
    """Drop some of what is kept, and grow as much elsewhere: units, or single weights.

    Attributes:
        fraction: share of what every group (or tensor) keeps to replace, in (0, 1].
        grow: by the size of the loss's "gradient" (of weights only), or at "random".
        trigger: why, for the record.
    """

    fraction: float
    grow: Literal["gradient", "random"]
    trigger: str


@dataclass(frozen=True)
class Derive:
    """Take the small model anew from a dense twin that is trained beside it.

    Attributes:
        density: share of the full model's MACs that the derived model costs.
        trigger: why, for the record.
    """

    density: float
    trigger: str


Decision = Keep | Shrink | Grow | Rewire | Derive

S = TypeVar("S", bound=tuple[Any, ...])


class Policy(Protocol[S]):
    """When to shrink and grow, and by how much; never which units.

    A policy holds its settings only. Its state is a NamedTuple of numbers that the controller
    keeps, passes in and saves.
    """

    @property
    def rows_from_start(self) -> bool:
        """Tables are held at the budget from the start rather than from the first shrink."""
        ...

    @property
    def starts_sparse(self) -> bool:
        """The model is cut to the budget at random before the first step."""
        ...

    def initial(self, budget: float) -> S:
        """The state before the first window.

        Raises:
            ConfigError: the settings do not go with ``budget``, a settled plan's share of MACs.
        """
        ...

    def wants_scores(self, state: S, window_rows: int) -> bool:
        """Whether the window about to start may end in a shrink, so units should be scored."""
        ...

    def step(self, state: S, observation: Observation) -> tuple[S, Decision]:
        """Called when a window ends."""
        ...

    def rate(self, state: S) -> float:
        """The learning-rate multiplier that goes with the state."""
        ...


def check_policy(policy: object) -> None:
    """Raises ConfigError where it is no policy of units."""
    if isinstance(policy, type):
        raise ConfigError(
            f"policy = {policy.__name__}: is a class: give one with its settings: "
            f"{policy.__name__}(...)"
        )
    if not hasattr(policy, "wants_scores"):
        raise ConfigError(
            f"policy = {policy!r}: is no policy of units, such as ADS(); those of single weights "
            "(DSL, RigL, SET) go with ElementController"
        )
