"""MovieLens 20M as a stream of events: will a user rate a film 4 or more?

Source: the user's own download of ``ml-20m.zip`` (GroupLens), of which ``ratings.csv`` and
``movies.csv`` are read.

Licence: GroupLens' terms of use: research; **no redistribution and no commercial use** without
permission. Nothing of it lies in this project. F. M. Harper, J. A. Konstan: The MovieLens Datasets.
ACM TiiS 5(4), 2015.

20,000,263 events of 138,493 users from January 1995 to March 2015, in the order of time; see
:mod:`stream_prune.datasets.movielens`. Ratings go in halves; nothing is known of the users.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from stream_prune.datasets import movielens
from stream_prune.datasets.event_file import event_path, is_made_from
from stream_prune.datasets.own_download import Download, Layout, made_from, read, whole
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "ml-20m: 20,000,263 film ratings by 138,493 users, is it 4 or more; your own download of "
    "GroupLens' ml-20m.zip; research use, do not redistribute"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

DOWNLOAD = Download("ml-20m", "ml-20m.zip", "grouplens.org/datasets/movielens/20m")
RATINGS = Layout(
    {"userId": pa.int64(), "movieId": pa.int64(), "rating": pa.float64(), "timestamp": pa.int64()},
    header=True,
    delimiter=",",
)
FILMS = Layout(
    {"movieId": pa.int64(), "title": pa.string(), "genres": pa.string()},
    header=True,
    delimiter=",",
    quoted=True,
)
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "rated_at",
        "label": "liked",
        "dense": movielens.DENSE,
        "categorical": movielens.CATEGORICAL,
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file beside the user's files.

    Raises:
        ConfigError: ``rows`` is below 1, or a file is not there.
        RunError: a file is laid out in another way, or belongs to another release.
    """
    return prepared("ml-20m", DOWNLOAD, folder, rows)


def prepared(name: str, download: Download, folder: str | Path, rows: int | None) -> list[Path]:
    """The same for any release with this layout."""
    path = event_path(folder, name, rows)
    ratings, films = (download.find(folder, file) for file in ("ratings.csv", "movies.csv"))
    movielens.check_release(ratings, download)
    made = made_from(LAYOUT, rows, ratings, films)
    if not is_made_from(path, made):
        movielens.write(path, made, lambda: events(ratings, films, download), rows)
    return [path]


def events(ratings: Path, films: Path, download: Download = DOWNLOAD) -> Iterator[pa.Table]:
    """The event stream: the columns of :data:`SPEC`, in the file's order."""
    catalogue = whole(films, FILMS, download).rename_columns(["item", "title", "genres"])
    names = ["user", "item", "rating", "timestamp"]
    every = (table.rename_columns(names) for table in read(ratings, RATINGS, download))
    return movielens.rated(every, catalogue)
