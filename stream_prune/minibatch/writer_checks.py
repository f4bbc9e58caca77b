"""What no writer may write, whatever it writes to: each is a ValueError, a fault of the caller."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from stream_prune.features import EVENT_TIME, LABEL, SERVED_SCORE
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.commit import Claim, Commit
from stream_prune.minibatch.header import LogHeader


def check_window(window_end: int, last: Commit | None, header: LogHeader) -> None:
    """Raises ValueError unless a window may still come after the commit ``last``."""
    length = header.window_ms
    if window_end % length or window_end <= 0:
        raise ValueError(f"window_end {window_end} is no positive multiple of {length} ms")
    if last is not None and last.end:
        raise ValueError(f"shard {last.shard} has ended with window {last.window_end}")
    if last is not None and window_end <= last.window_end:
        raise ValueError(f"window_end {window_end} is committed: the last is {last.window_end}")


def check_batch(
    name: BatchName, batch: pa.RecordBatch, schema: pa.Schema, header: LogHeader
) -> None:
    """Raises ValueError unless ``batch`` is one of the window's, as the log holds them."""
    if not batch.schema.equals(schema):
        raise ValueError(f"batch {name} has the columns {batch.schema}, not {schema}")
    if not 0 < batch.num_rows <= header.batch_rows:
        raise ValueError(f"batch {name} has {batch.num_rows} rows")
    nulls = [
        column
        for column in schema.names
        if column not in (LABEL, SERVED_SCORE) and _nulls(batch.column(column))
    ]
    if nulls:
        raise ValueError(f"batch {name}: nulls in {', '.join(nulls)}")
    times = batch.column(EVENT_TIME).to_numpy()
    start = name.window_end - header.window_ms
    if times[0] < start or times[-1] >= name.window_end or (np.diff(times) < 0).any():
        raise ValueError(f"batch {name}: event times out of order or outside the window")


def check_commit(
    commit: Commit, last: Commit | None, *, shard: int, claim: Claim, header: LogHeader
) -> None:
    """Raises ValueError unless ``commit`` is this writer's and follows ``last``."""
    check_window(commit.window_end, last, header)
    if last is not None and commit.window_end != last.window_end + header.window_ms:
        raise ValueError(
            f"window_end {commit.window_end} does not follow {last.window_end}: every window is "
            "committed in turn, empty ones too"
        )
    found = (commit.shard, commit.writer_epoch, commit.fingerprint)
    if found != (shard, claim.epoch, header.fingerprint):
        raise ValueError(f"the commit is another writer's: {found}")


def _nulls(column: pa.Array) -> int:
    inner = column.flatten().null_count if pa.types.is_list(column.type) else 0
    return int(column.null_count + inner)
