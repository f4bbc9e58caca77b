"""Every contender at its own best rate over the seeds, on one log and at one share of the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compare_rows.contenders import FULL, Contender
from compare_rows.runs import Outcome, made
from compare_rows.streams import Stream

SEARCH_SEED = 100
FIRST = (1.0, 2.0)
"""Factors of both learning rates that are tried first; then on, halving or doubling, while the
best one is at an end."""
SMALLEST, GREATEST = 0.25, 8.0


@dataclass(frozen=True)
class Cell:
    """A contender's best factor and its outcomes, one a seed."""

    factor: float
    outcomes: tuple[Outcome, ...]

    @property
    def ne(self) -> float:
        return sum(outcome.ne for outcome in self.outcomes) / len(self.outcomes)

    @property
    def auc(self) -> float:
        return sum(outcome.auc for outcome in self.outcomes) / len(self.outcomes)

    @property
    def spread(self) -> float:
        """Half the range of the seeds' NE."""
        found = [outcome.ne for outcome in self.outcomes]
        return (max(found) - min(found)) / 2


def study(
    stream: Stream,
    contender: Contender,
    share: float,
    seeds: tuple[int, ...],
    folder: Path,
    say: Callable[[str], None],
) -> Cell:
    """Search the rate with a seed of its own, then run the others with it."""
    share = 1.0 if contender.name == FULL else share

    def ne(factor: float) -> float:
        return made(stream, contender, share, factor, SEARCH_SEED, folder).ne

    factor = searched(ne)
    outcomes = tuple(made(stream, contender, share, factor, seed, folder) for seed in seeds)
    cell = Cell(factor, outcomes)
    say(
        f"{stream.log.name:10} {share:5.0%} {contender.name:16} rate x{factor:<5g}"
        f"NE {cell.ne:.4f} +- {cell.spread:.4f}  AUC {cell.auc:.4f}  "
        f"evictions {outcomes[0].evictions:7,}"
    )
    return cell


def searched(ne: Callable[[float], float]) -> float:
    """The factor with the lowest NE: a walk by halves and doubles until it gets worse.

    >>> searched(lambda factor: abs(factor - 4.2)), searched(lambda factor: factor)
    (4.0, 0.25)
    """
    low, high = FIRST
    step, best = (2.0, high) if ne(high) < ne(low) else (0.5, low)
    while SMALLEST <= best * step <= GREATEST and ne(best * step) < ne(best):
        best *= step
    return best
