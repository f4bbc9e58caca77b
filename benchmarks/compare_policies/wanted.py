"""What was wanted of the policies, and whether it is so, is not so, or cannot be told (a tie)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from record import Figure

from compare_policies.narrowing import narrowing
from compare_policies.results import Results
from stream_prune.evaluation.compare import Difference

ADAPTIVE = "ads"
NEAR_DENSE = 0.1
"""Percent of NE that the adaptive policy may lose against dense."""

SMALL = ("small_dense", "small_dense_on_drift")
BOUND_BY_CAPACITY = "capacity-bound"


def figures(found: Sequence[Results]) -> list[Figure]:
    """The figures of all logs; a policy that was left out has none."""
    return [figure for log in found for figure in (*_adaptive(log), *_narrowing(log))]


def _adaptive(log: Results) -> Iterator[Figure]:
    against = log.differences.get(ADAPTIVE, {})
    if "dense" in against:
        yield near(f"{log.name}: {ADAPTIVE} NE above dense", against["dense"], NEAR_DENSE)
    if "static" in against:
        yield ahead(f"{log.name}: static NE above {ADAPTIVE}", against["static"])
    for small in SMALL:
        if small in against:
            name = f"{log.name}: {small} NE above {ADAPTIVE}"
            yield ahead(name, against[small], asked=log.name == BOUND_BY_CAPACITY)


def near(name: str, difference: Difference, most: float) -> Figure:
    """How far a policy is above another; wanted is at most ``most`` percent."""
    side = difference.verdict(against=most / 100)
    holds = {"below": True, "above": False, "tie": None}[side]
    return Figure(
        name,
        100 * difference.value,
        "%",
        f"<= {most}",
        holds,
        _note(difference, open_=side == "tie"),
    )


def ahead(name: str, difference: Difference, asked: bool = True) -> Figure:
    """How far the other is above the policy, of the policy's difference from it; wanted is > 0."""
    side = difference.verdict()
    holds = {"below": True, "above": False, "tie": None}[side] if asked else None
    return Figure(
        name,
        100 * (1 / (1 + difference.value) - 1),
        "%",
        "> 0" if asked else "",
        holds,
        _note(difference, open_=side == "tie"),
    )


def _note(difference: Difference, open_: bool) -> str:
    low, high, spread = (100 * x for x in (difference.low, difference.high, difference.spread))
    seen = f"{ADAPTIVE} {low:+.2f} to {high:+.2f} %, seeds +-{spread:.2f}"
    return f"a tie ({seen})" if open_ else seen


def _narrowing(log: Results) -> Iterator[Figure]:
    found = narrowing(log.study)
    if found is None:
        return
    yield Figure(f"{log.name}: amgp training MACs of dense", found.macs, "share")
    yield Figure(f"{log.name}: amgp seconds of dense", found.seconds, "share")
    above = 100 * (found.ne / found.dense_ne - 1)
    yield Figure(f"{log.name}: amgp NE above dense, last 5 % of the stream", above, "%")
    if found.dense_macs_there is not None:
        name = f"{log.name}: dense training MACs until its NE first was amgp's last"
        yield Figure(name, found.dense_macs_there, "share")
