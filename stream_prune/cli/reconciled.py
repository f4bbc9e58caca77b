"""What became of every row of the events, as the log's commits say."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam_jobs.sink import Reconciliation
    from stream_prune.minibatch.place import LogPlace


def reconciled(log: LogPlace) -> Reconciliation:
    """The counts of all commits of a log, over all its shards.

    Raises:
        ConfigError: there is no log.
    """
    from beam_jobs.sink import Reconciliation
    from stream_prune.minibatch.open_log import open_log

    found = open_log(log)
    counts = Reconciliation()
    for shard in range(found.header.shards):
        for _, commit in found.commits(shard):
            counts = counts.plus(commit)
    return counts


def record(log: LogPlace) -> dict[str, Any]:
    """The same as plain values for ``summary.json``."""
    counts = reconciled(log)
    found = {"dead_letters": unused(counts), "dead_letters_folder": letters(log)}
    return asdict(counts) | found


def told(log: LogPlace) -> str:
    """The same in words."""
    counts = reconciled(log)
    bad = unused(counts)
    where = f"; {bad:,} dead letters in {letters(log)}" if bad else "; no dead letters"
    return f"{counts}{where}"


def unused(counts: Reconciliation) -> int:
    """Rows that are no good ones: each is a dead letter."""
    bad = counts.late + counts.duplicates + counts.invalid + counts.undecodable
    return bad + counts.unmatched


def letters(log: LogPlace) -> str:
    """Where the dead letters of a log are."""
    from stream_prune.minibatch.open_log import open_log

    return open_log(log).dead_letters
