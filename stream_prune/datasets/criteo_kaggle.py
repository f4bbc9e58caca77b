"""Criteo's display advertising challenge: seven days of ads, was an ad clicked?

Source: the user's own download of ``kaggle-display-advertising-challenge-dataset.tar.gz`` (also
``dac.tar.gz``; Criteo AI Lab, for the Kaggle challenge of 2014), of which ``train.txt`` is read:
label, 13 counts (I1 to I13) and 26 hashed categories (C1 to C26) between tabs, no header.

Licence: Criteo's terms of use of the challenge's data, which the download asks to accept: research,
non-commercial. Nothing of it lies in this project: do not redistribute.

45,840,617 events in the order of time, clicks and non-clicks subsampled at different rates, so the
click rate is none of the real world. The file has no times: events are spread evenly over seven
days from 2014-05-01 (UTC), a date that means nothing. The label counts as known at once.
"""

from __future__ import annotations

from pathlib import Path

from stream_prune.datasets.criteo_layout import SPEC, events
from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.datasets.own_download import Download, first, made_from

__all__ = ["DESCRIPTION", "SPEC", "prepare"]

DESCRIPTION = (
    "criteo-kaggle: 45,840,617 ads of seven days, was it clicked; your own download of Criteo's "
    "challenge data (train.txt); research use, do not redistribute"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

DOWNLOAD = Download(
    "criteo-kaggle",
    "kaggle-display-advertising-challenge-dataset.tar.gz",
    "Criteo AI Lab, Kaggle Display Advertising Challenge dataset",
)
START_MS = 1_398_902_400_000
INTERVAL_US = 7 * 86_400 * 1_000_000 // 45_840_617


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file beside the user's ``train.txt``.

    Raises:
        ConfigError: ``rows`` is below 1, or ``train.txt`` is not there.
        RunError: it is laid out in another way.
    """
    path = event_path(folder, "criteo-kaggle", rows)
    source = DOWNLOAD.find(folder, "train.txt", "train.txt.gz")
    made = made_from(LAYOUT, rows, source)
    if not is_made_from(path, made):
        write_events(path, made, first(events(source, DOWNLOAD, START_MS, INTERVAL_US), rows))
    return [path]
