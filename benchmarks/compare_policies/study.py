"""A log's study: every policy's learning rate is searched, then it runs with it on every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from compare_policies.contenders import COMMON, SETTLED, Changes
from compare_policies.logs import CONFIGS, SEARCHED, Stream
from compare_policies.runs import Outcome, Run
from compare_policies.schedule import Schedule
from stream_prune.errors import RunError

SEARCH_SEED = 100
"""Reported by nobody."""


@dataclass(frozen=True)
class Study:
    """What came of one log.

    Attributes:
        stream: the log.
        searched: per policy and rate the NE from the moment at which every policy has come down to
            the budget until the end of the first fifth; infinite where training diverged.
        rates: per policy the rate with the lowest.
        seeds: of the runs.
        outcomes: per policy those of its seeds, over the whole stream.
    """

    stream: Stream
    searched: Mapping[str, Mapping[float, float]]
    rates: Mapping[str, float]
    seeds: Sequence[int]
    outcomes: Mapping[str, Sequence[Outcome]]

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Policies whose rate is the lowest or highest that was tried: a better one may exist."""
        return tuple(
            policy
            for policy, rate in self.rates.items()
            if rate in (min(self.searched[policy]), max(self.searched[policy]))
        )


def study(
    stream: Stream,
    policies: Mapping[str, Changes],
    seeds: Sequence[int],
    folder: Path,
    schedule: Schedule,
    *,
    wider: int = 0,
) -> Study:
    """Make all runs of a log that are not finished yet.

    Args:
        stream: the log.
        policies: by name their changes.
        seeds: of the runs.
        folder: keeps them.
        schedule: makes them.
        wider: how often a policy whose best rate lies at the edge of those tried gets the next one
            beyond it, half or twice the rate.

    Raises:
        RunError: a policy diverges at every rate, or with the rate that was found for it.
    """
    searched = _search(stream, policies, folder, schedule, wider)
    rates = {policy: min(found, key=lambda rate: found[rate]) for policy, found in searched.items()}
    for policy, rate in rates.items():
        if searched[policy][rate] == inf:
            raise RunError(
                f"{stream.log.name}: {policy} has diverged at every rate of "
                f"{', '.join(map(str, stream.log.rates))}: give the log lower ones in logs.py"
            )
    runs = {
        policy: [
            _run(stream, changes, rates[policy], seed, folder / policy / f"seed-{seed}")
            for seed in seeds
        ]
        for policy, changes in policies.items()
    }
    found = iter(
        schedule.outcomes(stream.log.name, [run for each in runs.values() for run in each])
    )
    outcomes = {policy: [next(found) for _ in seeds] for policy in policies}
    for policy, each in outcomes.items():
        for seed, outcome in zip(seeds, each, strict=True):
            if outcome.diverged:
                raise RunError(f"{stream.log.name}: {policy}, seed {seed}: {outcome.diverged}")
    return Study(stream, searched, rates, seeds, outcomes)


def _search(
    stream: Stream,
    policies: Mapping[str, Changes],
    folder: Path,
    schedule: Schedule,
    wider: int,
) -> dict[str, dict[float, float]]:
    searched = {policy: dict[float, float]() for policy in policies}
    wanted = [(policy, rate) for policy in policies for rate in stream.log.rates]
    for left in range(wider, -1, -1):
        runs = [
            _run(
                stream,
                policies[policy],
                rate,
                SEARCH_SEED,
                folder / policy / f"rate-{rate:g}",
                search=True,
            )
            for policy, rate in wanted
        ]
        found = schedule.outcomes(f"{stream.log.name}: rates", runs)
        for (policy, rate), outcome in zip(wanted, found, strict=True):
            searched[policy][rate] = _judged(outcome)
        beyond = ((policy, _beyond(tried)) for policy, tried in searched.items())
        wanted = [(policy, rate) for policy, rate in beyond if rate is not None]
        if not wanted or not left:
            break
    return searched


def _beyond(tried: Mapping[float, float]) -> float | None:
    """The next rate where the best one is the lowest or the highest that was tried."""
    best = min(tried, key=lambda rate: tried[rate])
    if tried[best] == inf or len(tried) < 2:
        return None
    return {min(tried): best / 2, max(tried): best * 2}.get(best)


def _judged(outcome: Outcome) -> float:
    """A run that had to go back to its checkpoint has gone on at a lower rate than it was given."""
    if outcome.diverged or outcome.summary["rollbacks"]:
        return inf
    return float(outcome.summary["ne_after_warmup"])


def _run(
    stream: Stream, changes: Changes, rate: float, seed: int, folder: Path, search: bool = False
) -> Run:
    return Run(
        folder=folder,
        config=CONFIGS / stream.log.config,
        changes=(COMMON, changes),
        log=stream.first if search else stream.whole,
        warmup_rows=stream.rows(SETTLED if search else SEARCHED),
        rate=rate,
        seed=seed,
    )
