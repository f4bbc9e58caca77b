"""Criteo's terabyte of click logs: 24 days of ads, was an ad clicked?

Source: the user's own download of the day files ``day_0.gz`` to ``day_23.gz`` (Criteo AI Lab, 1TB
Click Logs; on Hugging Face criteo/CriteoClickLogs), packed or not, as many of them as are wanted.
Label, 13 counts and 26 hashed categories between tabs, no header.

Licence: CC BY-NC-SA 4.0: non-commercial, and Criteo is named. Nothing of it lies in this project.

4,373,472,329 events in the order of time, clicks and non-clicks subsampled at different rates. The
files say which day an event is of and no more: day d begins at 2013-10-01 + d days (UTC), a date
that means nothing, and its events follow each other every 430 us, which leaves room for the 200
million events of the longest day. The label counts as known at once.
"""

from __future__ import annotations

import re
from pathlib import Path

from stream_prune.datasets.criteo_layout import SPEC, events
from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.datasets.own_download import Download, first, made_from

__all__ = ["DESCRIPTION", "SPEC", "prepare"]

DESCRIPTION = (
    "criteo-1tb: 4,373,472,329 ads of 24 days, was it clicked; your own download of Criteo's 1TB "
    "Click Logs (day_0.gz to day_23.gz, or some of them); CC BY-NC-SA 4.0"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

DOWNLOAD = Download("criteo-1tb", "day_0.gz to day_23.gz", "Criteo AI Lab, 1TB Click Logs")
START_MS = 1_380_585_600_000
DAY_MS = 86_400_000
INTERVAL_US = 430
DAYS = 24


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write each day that is there, or its first ``rows`` events, as a Parquet file beside it.

    The files are in the order of the days: ``criteo-1tb-day-00.parquet`` and so on, one partition
    of a replay each.

    Raises:
        ConfigError: ``rows`` is below 1, or there is no day file.
        RunError: a file is laid out in another way.
    """
    event_path(folder, "criteo-1tb", rows)
    written = []
    for day, source in days(folder).items():
        path = event_path(folder, f"criteo-1tb-day-{day:02}", rows)
        made = made_from(LAYOUT, rows, source)
        if not is_made_from(path, made):
            start = START_MS + day * DAY_MS
            write_events(path, made, first(events(source, DOWNLOAD, start, INTERVAL_US), rows))
        written.append(path)
    return written


def days(folder: str | Path) -> dict[int, Path]:
    """The day files of a folder, in order.

    Raises:
        ConfigError: there is none.
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(folder).glob("**/day_*")):
        match = re.fullmatch(r"day_(\d+)(\.gz)?", path.name)
        if match and int(match[1]) < DAYS and path.is_file():
            found.setdefault(int(match[1]), path)
    if not found:
        DOWNLOAD.find(folder, "day_0.gz", "day_0")
    return dict(sorted(found.items()))
