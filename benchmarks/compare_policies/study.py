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
        tried = self.stream.log.rates
        return tuple(p for p, rate in self.rates.items() if rate in (tried[0], tried[-1]))


def study(
    stream: Stream,
    policies: Mapping[str, Changes],
    seeds: Sequence[int],
    folder: Path,
    schedule: Schedule,
) -> Study:
    """Make all runs of a log that are not finished yet.

    Raises:
        RunError: a policy diverges at every rate, or with the rate that was found for it.
    """
    searched = _search(stream, policies, folder, schedule)
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
    stream: Stream, policies: Mapping[str, Changes], folder: Path, schedule: Schedule
) -> dict[str, dict[float, float]]:
    rates = stream.log.rates
    runs = [
        _run(stream, changes, rate, SEARCH_SEED, folder / policy / f"rate-{rate:g}", search=True)
        for policy, changes in policies.items()
        for rate in rates
    ]
    found = iter(schedule.outcomes(f"{stream.log.name}: rates", runs))
    return {policy: {rate: _judged(next(found)) for rate in rates} for policy in policies}


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
