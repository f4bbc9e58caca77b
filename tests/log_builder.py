"""Small logs with known content: every value is a function of shard, window and row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from stream_prune.features import Categorical, Dense, FeatureSpec
from stream_prune.minibatch.batch import schema
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.header import LogHeader

LENGTH = 1000
SPEC = FeatureSpec((Dense("x"),), (Categorical("user"), Categorical("genres", True)), "y", "t")


def create(path, shards=1, batch_rows=100):
    header = LogHeader.of(SPEC, window_ms=LENGTH, shards=shards, batch_rows=batch_rows)
    return FolderLog.create(path, header)


def rows(window_end, count=3, shard=0, index=0):
    """A batch of ``count`` rows; every third row is unlabelled."""
    random = np.random.default_rng([window_end, shard, index])
    label = random.integers(0, 2, count).astype(np.float32)
    offsets = np.arange(count) + index * count
    return pa.RecordBatch.from_arrays(
        [
            pa.array(random.normal(size=count).astype(np.float32)),
            pa.array(random.integers(0, 50, count)),
            pa.array([list(range(n % 3)) for n in range(count)], pa.list_(pa.int64())),
            pa.array(window_end - LENGTH + np.sort(random.integers(0, LENGTH, count))),
            pa.array(label, mask=np.arange(count) % 3 == 2),
            pa.array(np.full(count, shard, np.int32)),
            pa.array(offsets),
        ],
        schema=schema(SPEC),
    )


def record(writer, window_end, refs=(), **more):
    return Commit(window_end, writer.shard, writer.epoch, SPEC.fingerprint, tuple(refs), **more)


def commit(writer, window_end, refs=(), **more):
    """Commit one window."""
    made = record(writer, window_end, refs, **more)
    writer.commit([made])
    return made


def write(writer, window_end, batches=1, **more):
    """Write and commit one whole window."""
    refs = [
        writer.write_batch(window_end, index, rows(window_end, shard=writer.shard, index=index))
        for index in range(batches)
    ]
    return commit(writer, window_end, refs, **more)
