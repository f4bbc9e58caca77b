"""Small mini-batch logs for tests, written without any streaming job."""

import math

import numpy as np
import pyarrow as pa

from stream_prune.encoding import encode
from stream_prune.features import OFFSET, PARTITION, Categorical, Dense, FeatureSpec
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.open_log import create_log
from stream_prune.minibatch.place import LogPlace
from stream_prune.training.checkpoint import read_states

HOUR = 3_600_000


def a_spec(delay_ms: int = 2 * HOUR, multi: bool = False) -> FeatureSpec:
    tags = (Categorical("tags", multi=True),) if multi else ()
    return FeatureSpec(
        dense=(Dense("x"), Dense("y")),
        categorical=(Categorical("user"), Categorical("item"), *tags),
        label="click",
        event_time="time",
        label_delay_ms=delay_ms,
    )


def drifting_rows(rows: int, seed: int = 0, hours: int = 24, users: int = 300) -> dict[str, list]:
    """A stream whose labels follow x and the item; the sign of x turns half-way."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, hours * HOUR, rows)) + 400 * HOUR
    user, item = rng.zipf(1.4, rows) % users, rng.zipf(1.6, rows) % 40
    x, y = rng.normal(size=(2, rows))
    turned = np.where(np.arange(rows) < rows // 2, 1.0, -1.0)
    logit = 1.5 * turned * x + 0.5 * y + np.sin(item) + 0.7 * np.cos(3 * user) - 0.5
    click = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(float)
    click[rng.random(rows) < 0.03] = math.nan
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "user": [f"u{u}" for u in user],
        "item": [f"i{i}" for i in item],
        "tags": [[f"t{t}" for t in range(i % 3)] for i in item.tolist()],
        "click": [None if math.isnan(c) else c for c in click],
        "time": time.tolist(),
    }


def write_log(
    path: LogPlace,
    spec: FeatureSpec,
    columns: dict[str, list],
    *,
    window_ms: int = HOUR,
    batch_rows: int = 64,
    ended: bool = True,
    until: int | None = None,
) -> MiniBatchLog:
    """Write rows (sorted by time) as one shard's windows; call again with more to append.

    ``until`` (ms) leaves out the windows that end after it.
    """
    header = LogHeader.of(spec, window_ms=window_ms, batch_rows=batch_rows)
    log = create_log(path, header)
    writer = log.writer(0)
    arrays = {name: pa.array(columns[name]) for name in spec.columns}
    # A clock of its own that starts in 1970: as plain numbers it would look like seconds of today.
    arrays[spec.event_time] = arrays[spec.event_time].cast(pa.timestamp("ms"))
    raw = pa.RecordBatch.from_pydict(arrays)
    encoded = encode(spec, raw)
    assert encoded.good.all(), encoded.reasons
    rows = encoded.batch.append_column(PARTITION, pa.array(np.zeros(raw.num_rows, np.int32)))
    rows = rows.append_column(OFFSET, pa.array(np.arange(raw.num_rows)))
    time = np.asarray(columns[spec.event_time])
    first, last = (int(t) // window_ms * window_ms for t in (time[0], time[-1]))
    for start in range(first, last + 1, window_ms):
        end = start + window_ms
        if (writer.last and end <= writer.last.window_end) or (until is not None and end > until):
            continue
        low, high = np.searchsorted(time, [start, end])
        cuts = range(low, high, batch_rows)
        refs = [
            writer.write_batch(end, i, rows.slice(cut, min(batch_rows, high - cut)))
            for i, cut in enumerate(cuts)
        ]
        commit = Commit(
            window_end=end,
            shard=0,
            writer_epoch=writer.epoch,
            fingerprint=spec.fingerprint,
            batches=tuple(refs),
            end=ended and start == last,
        )
        writer.commit([commit])
    return log


def weights(config):
    """What a run's last checkpoint holds of the model and of what it has seen."""
    states = read_states(max((config.run / "checkpoints").iterdir()))
    return {part: states[part] for part in ("head", "optimizer", "tables", "evaluation", "cursors")}


def same(left, right):
    """Whether two runs' ``weights`` are the same, bit for bit."""
    return all(
        a.equal(b) if hasattr(a, "equal") else a == b
        for part in left
        for a, b in zip(left[part].values(), right[part].values(), strict=True)
    )
