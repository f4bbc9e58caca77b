"""Stops a job whose input is rubbish, instead of learning from what is left of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from beam_jobs.dead_letters import INVALID, UNDECODABLE, Letter
from beam_jobs.sink import Reconciliation
from stream_prune.errors import RunError

CHECKED_FROM = 1000
"""Rows from which on a share means something; a shorter log is checked at its end."""
SHOWN = 3


class BadShare:
    """The share of invalid and undecodable rows among those read; late rows do not count.

    Args:
        most: the share that is still accepted.
        source: the name of a partition, for the message.
        folder: where the dead letters are (a folder, a topic), for the message.
        done: what earlier runs counted.
        among: of a stream, about how many last rows the share is of.
    """

    def __init__(
        self,
        most: float,
        source: Callable[[int], str],
        folder: object,
        done: Reconciliation,
        *,
        among: int | None = None,
    ) -> None:
        self._most, self._source, self._folder = most, source, folder
        self._counts = Counter({INVALID: done.invalid, UNDECODABLE: done.undecodable})
        self._first: list[Letter] = []
        self._among, self._recent = among, 0

    def take(self, letters: Iterable[Letter], rows: int = 0) -> None:
        """Count letters, in the order of their rows; of a stream also the rows they are among."""
        self._recent += rows
        if self._among is not None and self._recent > self._among:
            # What is long ago counts less and less.
            self._recent //= 2
            self._counts = Counter({kind: count // 2 for kind, count in self._counts.items()})
            self._first = self._first[SHOWN:]
        for letter in letters:
            if letter.kind in self._counts:
                self._counts[letter.kind] += 1
                if len(self._first) < SHOWN:
                    self._first.append(letter)

    def check_recent(self, *, at_end: bool) -> None:
        """Raises RunError if too many of the last rows of a stream were bad."""
        self.check(self._recent, at_end=at_end)

    def check(self, rows: int, *, at_end: bool) -> None:
        """Raises RunError if, of ``rows`` read, more than the accepted share was bad."""
        bad = self._counts.total()
        if bad <= self._most * rows or not (rows >= CHECKED_FROM or at_end):
            return
        first = "; ".join(
            f"{self._source(letter.partition)}: {letter.place}: {letter.reason}"
            for letter in self._first
        )
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self._counts.items())
        raise RunError(
            f"{bad:,} of {rows:,} rows cannot be used ({counts}), more than "
            f"max_bad_share = {self._most:g} allows. The first: {first}. All of them are in "
            f"{self._folder}: mend the input or the feature specification, or raise max_bad_share"
        )
