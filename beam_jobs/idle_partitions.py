"""Partitions that get nothing: what they do to the clock, by the configured policy.

A partition is idle when it has been read to its end, has got nothing for a while, and the cluster
has answered after that while: a cluster that is away makes no partition idle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from beam_jobs.read_partition import Partition
from beam_jobs.stream_options import LEAVE, WAIT, WALL_CLOCK
from beam_jobs.windows import NEVER


class IdlePartitions:
    """Applies a policy (wait, leave or wall_clock) to the partitions of a buffer.

    Args:
        policy: which.
        idle_ms: how long a partition must have got nothing.
        now: seconds of a steady clock, at the start.
    """

    def __init__(self, policy: str, idle_ms: int, now: float) -> None:
        self._policy, self._idle_ms = policy, idle_ms
        self._started = self._answered = now
        self._got: dict[int, float] = {}

    def answered(self, now: float) -> None:
        """The cluster has answered."""
        self._answered = now

    def silence(self, now: float) -> float:
        """Seconds since the cluster has answered."""
        return now - self._answered

    def update(
        self,
        partitions: Mapping[int, Partition],
        got: Collection[int],
        caught_up: Collection[int],
        now: float,
        wall_ms: int,
    ) -> None:
        """Set ``left`` or ``clock`` of the partitions after an epoch.

        Args:
            partitions: by number.
            got: those that had records.
            caught_up: those that have been read to their end.
            now: seconds of the steady clock.
            wall_ms: the clock on the wall (ms, UTC).
        """
        for number in got:
            self._got[number] = now
        if self._policy == WAIT:
            return
        for number, partition in partitions.items():
            until = self._got.get(number, self._started) + self._idle_ms / 1000
            idle = number in caught_up and until <= min(now, self._answered)
            if self._policy == LEAVE:
                partition.left = idle
            elif self._policy == WALL_CLOCK:
                partition.clock = wall_ms - self._idle_ms if idle else NEVER
