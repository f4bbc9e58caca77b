"""Windows of impressions, clicks and conversions, as a window buffer closes them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from beam_jobs.closed_window import ClosedWindow
from beam_jobs.decode import Decoded
from stream_prune.features import Categorical, Dense, FeatureSpec
from stream_prune.minibatch.batch import schema

LENGTH = 100
START = 100_000
CLICKS, CONVERSIONS = 2, 3
"""The partitions of clicks and conversions; 0 and 1 hold impressions."""
SPEC = FeatureSpec(
    (Dense("x"),), (Categorical("item"),), "y", "time", label_delay_ms=10_000, event_key="key"
)


def rows_of(events):
    """The rows of (time, partition, offset, key), in their order."""
    time, partition, offset, key = (list(c) for c in zip(*events, strict=True))
    n = len(events)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.asarray(offset, np.float32)),
            pa.array([k + 7 for k in key]),
            pa.array(time),
            pa.nulls(n, pa.float32()),
            pa.array(key),
            pa.array(np.asarray(partition, np.int32)),
            pa.array(offset),
        ],
        schema=schema(SPEC),
    )


def decoded_of(events):
    """Each partition's rows as one chunk."""
    chunks = []
    for number in {event[1] for event in events}:
        mine = sorted(event for event in events if event[1] == number)
        offsets = np.array(sorted(event[2] for event in mine))
        raw = pa.RecordBatch.from_pydict({"key": [e[3] for e in sorted(mine, key=lambda e: e[2])]})
        chunks.append(Decoded(number, 0, int(offsets[-1]) + 1, False, raw, offsets, None))
    return tuple(chunks)


def closed_windows(events):
    """All windows from the first event to the last, as a window buffer closes them."""
    ends = [time // LENGTH * LENGTH + LENGTH for time, *_ in events]
    found = []
    for end in range(min(ends), max(ends) + 1, LENGTH):
        mine = sorted(e for e, its in zip(events, ends, strict=True) if its == end)
        rows = rows_of(mine) if mine else None
        read = decoded_of(mine)
        found.append(ClosedWindow(end, rows, {}, {}, {}, end == max(ends), (), read))
    return found
