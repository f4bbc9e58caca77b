"""What became of every row of the events, as the log's commits say."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam_jobs.sink import Reconciliation

DEAD_LETTERS = "dead_letters"


def reconciled(log: Path) -> Reconciliation:
    """The counts of all commits of a log, over all its shards.

    Raises:
        ConfigError: there is no log.
    """
    from beam_jobs.sink import Reconciliation
    from stream_prune.minibatch.folder_log import FolderLog

    found = FolderLog.open(log)
    counts = Reconciliation()
    for shard in range(found.header.shards):
        for _, commit in found.commits(shard):
            counts = counts.plus(commit)
    return counts


def record(log: Path) -> dict[str, Any]:
    """The same as plain values for ``summary.json``."""
    counts = reconciled(log)
    letters = {"dead_letters": unused(counts), "dead_letters_folder": str(log / DEAD_LETTERS)}
    return asdict(counts) | letters


def told(log: Path) -> str:
    """The same in words."""
    counts = reconciled(log)
    letters = unused(counts)
    where = (
        f"; {letters:,} dead letters in {log / DEAD_LETTERS}" if letters else "; no dead letters"
    )
    return f"{counts}{where}"


def unused(counts: Reconciliation) -> int:
    """Rows that are no good ones: each is a dead letter."""
    return counts.late + counts.duplicates + counts.invalid + counts.undecodable
