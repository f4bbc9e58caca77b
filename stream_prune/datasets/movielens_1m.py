"""MovieLens 1M as a stream of events: will a user rate a film 4 or 5?

Source: the user's own download of ``ml-1m.zip`` (GroupLens), of which ``ratings.dat``,
``movies.dat`` and ``users.dat`` are read: values between double colons, no header.

Licence: GroupLens' terms of use: research; **no redistribution and no commercial use** without
permission. Nothing of it lies in this project. F. M. Harper, J. A. Konstan: The MovieLens Datasets.
ACM TiiS 5(4), 2015.

1,000,209 events of 6,040 users from April 2000 to February 2003, in the order of time; see
:mod:`stream_prune.datasets.movielens`. A user's gender, age group, occupation and zip code were
given when signing up; ``zip_region`` is the zip code's first digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.datasets import movielens
from stream_prune.datasets.event_file import event_path, is_made_from
from stream_prune.datasets.own_download import Download, Layout, made_from, read, whole
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "ml-1m: 1,000,209 film ratings by 6,040 users, is it 4 or 5; your own download of GroupLens' "
    "ml-1m.zip; research use, do not redistribute"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

DOWNLOAD = Download("ml-1m", "ml-1m.zip", "grouplens.org/datasets/movielens/1m")
RATINGS = Layout(dict.fromkeys(("user", "item", "rating", "timestamp"), pa.int64()), delimiter="::")
FILMS = Layout(
    {"item": pa.int64(), "title": pa.string(), "genres": pa.string()},
    delimiter="::",
    encoding="latin-1",
)
USERS = Layout(
    {
        "user": pa.int64(),
        "gender": pa.string(),
        "age": pa.int64(),
        "occupation": pa.int64(),
        "zip_code": pa.string(),
    },
    delimiter="::",
)
GIVEN = ("gender", "age_group", "occupation", "zip_region")
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "rated_at",
        "label": "liked",
        "dense": movielens.DENSE,
        "categorical": [*movielens.CATEGORICAL, *GIVEN],
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file beside the user's files.

    Raises:
        ConfigError: ``rows`` is below 1, or a file is not there.
        RunError: a file is laid out in another way.
    """
    path = event_path(folder, "ml-1m", rows)
    files = [DOWNLOAD.find(folder, f"{name}.dat") for name in ("ratings", "movies", "users")]
    made = made_from(LAYOUT, rows, *files)
    if not is_made_from(path, made):
        movielens.write(path, made, lambda: events(*files), rows)
    return [path]


def events(ratings: Path, films: Path, users: Path) -> Iterator[pa.Table]:
    """The event stream: the columns of :data:`SPEC`, in the file's order."""
    known = whole(users, USERS, DOWNLOAD)
    given = pa.table(
        {
            "gender": known["gender"],
            "age_group": known["age"].cast(pa.string()),
            "occupation": known["occupation"].cast(pa.string()),
            "zip_region": pc.utf8_slice_codeunits(known["zip_code"], 0, 1),
        }
    )
    every = movielens.rated(read(ratings, RATINGS, DOWNLOAD), whole(films, FILMS, DOWNLOAD))
    for table in every:
        user = given.take(pc.index_in(table["user"], known["user"]))
        for name in GIVEN:
            table = table.append_column(name, user[name])
        yield table
