"""MovieLens 25M as a stream of events: will a user rate a film 4 or more?

Source: the user's own download of ``ml-25m.zip`` (GroupLens), of which ``ratings.csv`` and
``movies.csv`` are read; they are laid out as those of :mod:`stream_prune.datasets.movielens_20m`.

Licence: GroupLens' terms of use: research; **no redistribution and no commercial use** without
permission. Nothing of it lies in this project. F. M. Harper, J. A. Konstan: The MovieLens Datasets.
ACM TiiS 5(4), 2015.

25,000,095 events of 162,541 users from January 1995 to November 2019, in the order of time.
"""

from __future__ import annotations

from pathlib import Path

from stream_prune.datasets.movielens_20m import SPEC, prepared
from stream_prune.datasets.own_download import Download

__all__ = ["DESCRIPTION", "SPEC", "prepare"]

DESCRIPTION = (
    "ml-25m: 25,000,095 film ratings by 162,541 users, is it 4 or more; your own download of "
    "GroupLens' ml-25m.zip; research use, do not redistribute"
)
DOWNLOAD = Download("ml-25m", "ml-25m.zip", "grouplens.org/datasets/movielens/25m")


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file beside the user's files.

    Raises:
        ConfigError: ``rows`` is below 1, or a file is not there.
        RunError: a file is laid out in another way, or belongs to another release.
    """
    return prepared("ml-25m", DOWNLOAD, folder, rows)
