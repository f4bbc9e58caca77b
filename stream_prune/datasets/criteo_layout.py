"""What both of Criteo's click logs have in common: a label, 13 counts and 26 hashed categories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from stream_prune.datasets.own_download import Download, Layout, read
from stream_prune.features import FeatureSpec

COUNTS = tuple(f"I{i}" for i in range(1, 14))
CATEGORIES = tuple(f"C{i}" for i in range(1, 27))
CRITEO = Layout(
    columns={
        "label": pa.int8(),
        **dict.fromkeys(COUNTS, pa.int64()),
        **dict.fromkeys(CATEGORIES, pa.string()),
    }
)
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "label",
        "dense": [{"name": name, "transform": "log1p", "missing": 0} for name in COUNTS],
        "categorical": list(CATEGORIES),
    }
)


def events(path: Path, download: Download, start_ms: int, interval_us: int) -> Iterator[pa.Table]:
    """The rows of a file in its order, which is that of time; the files themselves have no times.

    Args:
        path: 40 columns between tabs, no header.
        download: what it is of.
        start_ms: event time of the first row, ms since 1970 (UTC).
        interval_us: from one row to the next.
    """
    passed = 0
    for table in read(path, CRITEO, download):
        number = np.arange(passed, passed + table.num_rows)
        passed += table.num_rows
        times = pa.array(start_ms + number * interval_us // 1000)
        yield table.add_column(0, "time", times.cast(pa.timestamp("ms", tz="UTC")))
