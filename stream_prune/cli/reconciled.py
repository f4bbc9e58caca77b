"""What became of every row of the events, as the log's commits say."""

from __future__ import annotations

from contextlib import closing
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

    with closing(open_log(log)) as found:
        shards = [asdict(Reconciliation.of(found, n)) for n in range(found.header.shards)]
    return Reconciliation(
        **{name: sum(shard[name] for shard in shards) for name in asdict(Reconciliation())}
    )


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
