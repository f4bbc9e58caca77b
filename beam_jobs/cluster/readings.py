"""Readings: what the writer of a log says about where its partitions are to be read from."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from stream_prune.minibatch.log import MiniBatchLog, StaleWriter


@dataclass(frozen=True)
class Reading:
    """One start of a writer.

    Attributes:
        number: counts the readings of a log, from 1.
        job: the submission that it belongs to.
        positions: per partition the offset to read from.
        ends: per partition where a job ends that is to stop there; None: it goes on.
    """

    number: int
    job: str
    positions: Mapping[int, int]
    ends: Mapping[int, int] | None


class Readings:
    """The readings of a log; each is written once, under the next number."""

    def __init__(self, log: MiniBatchLog) -> None:
        self._log = log
        self._jobs: set[str] = set()
        self._newest: Reading | None = None

    def newest(self) -> Reading | None:
        """The newest reading, by whatever job; None before the first.

        Raises:
            RunError: the log can't be read.
        """
        while (text := self._log.agreed(self._name())) is not None:
            self._take(text)
        return self._newest

    def begin(
        self, job: str, positions: Mapping[int, int], ends: Mapping[int, int] | None
    ) -> Reading:
        """Start the next reading.

        Raises:
            StaleWriter: another job has started one after this job.
            RunError: the log can't be written.
        """
        own = json.dumps({"job": job, "id": uuid.uuid4().hex, "positions": positions, "ends": ends})
        while True:
            self.refuse_superseded(job)
            text = self._log.agree(self._name(), own + "\n")
            reading = self._take(text)
            if text.strip() == own:
                return reading

    def refuse_superseded(self, job: str) -> None:
        """Raises StaleWriter if another job has started a reading after this job had."""
        newest = self.newest()
        if newest is not None and newest.job != job and job in self._jobs:
            raise StaleWriter(
                f"{self._log.place}: another job has started to write this log since: this "
                "one stops; let only one job write a log"
            )

    def _name(self) -> str:
        return f"reading-{1 if self._newest is None else self._newest.number + 1:06d}"

    def _take(self, text: str) -> Reading:
        said = json.loads(text)
        number = 1 if self._newest is None else self._newest.number + 1
        ends = said["ends"]
        self._jobs.add(said["job"])
        self._newest = Reading(
            number,
            said["job"],
            {int(n): offset for n, offset in said["positions"].items()},
            None if ends is None else {int(n): offset for n, offset in ends.items()},
        )
        return self._newest


@dataclass(frozen=True)
class Stopped:
    """A job is to end.

    Attributes:
        why: the error that ends it; None: it was told to.
        again: another submission can go on where it stood.
    """

    why: str | None
    again: bool = False


def say_stopped(log: MiniBatchLog, job: str, why: str | None, *, again: bool = False) -> None:
    """Let a job's readers end, and tell whoever has submitted it why; the first word counts.

    Raises:
        RunError: the log can't be written.
    """
    log.agree(_stopped(job), json.dumps({"why": why, "again": again}) + "\n")


def stopped(log: MiniBatchLog, job: str) -> Stopped | None:
    """Whether a job is to end, and why; None if it is not.

    Raises:
        RunError: the log can't be read.
    """
    text = log.agreed(_stopped(job))
    return None if text is None else Stopped(**json.loads(text))


def _stopped(job: str) -> str:
    return f"stopped-{job}"
