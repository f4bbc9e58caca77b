"""Raw rows for the example that travels with an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_prune.errors import RunError

if TYPE_CHECKING:
    import pyarrow as pa

    from stream_prune.cli.config import Config
    from stream_prune.features import FeatureSpec
    from stream_prune.minibatch.batch import MiniBatch

EXAMPLE_ROWS = 64


def example_rows(config: Config) -> pa.Table:
    """The last raw rows of the configured files; of a stream, rows like those of its last batch.

    A mini-batch log keeps strings as hashes, so the latter have made-up strings.

    Raises:
        ConfigError: the configured files are not there.
        RunError: the log has no rows yet.
    """
    from stream_prune.cli.publish import last_events

    source = config.source
    if source is not None and (source.dataset is not None or source.files):
        return last_events(config)
    from stream_prune.minibatch.open_log import open_log
    from stream_prune.minibatch.reader import windows

    log, last = open_log(config.training.log), None
    for window in windows(log):
        last = window.batches[-1] if window.batches else last
    if last is None:
        raise RunError(f"{config.training.log}: has no rows yet: nothing to make an example of")
    return like(log.read(*last, log.spec), log.spec)


def like(batch: MiniBatch, spec: FeatureSpec) -> pa.Table:
    """Raw rows whose dense features are those of a batch, with made-up categories.

    Args:
        batch: encoded rows; the last 64 are taken.
        spec: how they were encoded.
    """
    import numpy as np
    import pyarrow as pa

    dense = batch.dense[-EXAMPLE_ROWS:]
    rows, columns = len(dense), {}
    for i, column in enumerate(spec.dense):
        values = dense[:, i].astype(np.float64)
        columns[column.name] = pa.array(np.expm1(values) if column.transform == "log1p" else values)
    for categorical in spec.categorical:
        numbers = list(range(rows))
        made = numbers if categorical.type == "integer" else [f"example-{n}" for n in numbers]
        columns[categorical.name] = pa.array([[m] for m in made] if categorical.multi else made)
    return pa.table(columns)
