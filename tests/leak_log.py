"""A click log that tells whether labels are used before they are known.

A user comes several times within an hour and clicks each time or never; the next hour's choice is
drawn anew. Labels are known a day later, when they say nothing about anybody any more: a model that
respects the delay cannot beat the base rate, one that learns each label at once can, by far.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from stream_prune.features import FeatureSpec

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BASE_RATE = 0.3
USERS = 200
VISITS = 8
"""Mean visits of a user in an hour."""


def make(rows: int, seed: int, *, label_delay_ms: int = DAY_MS) -> tuple[pa.Table, FeatureSpec]:
    """A log of ``rows`` events in event-time order, and its specification.

    About ``USERS * VISITS`` events an hour, so that 40,000 events span 25 hours.
    """
    rng = np.random.default_rng(seed)
    hours = rows // (USERS * VISITS) + 1
    clicks = rng.random((hours, USERS)) < BASE_RATE
    time = np.sort(rng.integers(0, HOUR_MS * rows // (USERS * VISITS) + 1, rows))
    user = rng.integers(0, USERS, rows)
    table = pa.table(
        {
            "time": pa.array(time + 365 * DAY_MS, pa.timestamp("ms", "UTC")),
            "click": clicks[time // HOUR_MS, user].astype(np.int8),
            "noise": rng.standard_normal(rows),
            "user": [f"user-{u}" for u in user],
        }
    )
    spec = FeatureSpec.from_dict(
        {
            "event_time": "time",
            "label": "click",
            "label_delay_ms": label_delay_ms,
            "dense": ["noise"],
            "categorical": ["user"],
        }
    )
    return table, spec
