"""What the larger MovieLens logs have in common: ratings by time, films with genres and a year.

Ratings are published by user and are brought into the order of time (ties as published) on disk. A
label says whether the rating is 4 or more; it is known at once. A film's genres and its year come
from the catalogue; nothing is counted over ratings, so nothing looks ahead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.datasets.event_file import write_events
from stream_prune.datasets.own_download import Download, first
from stream_prune.datasets.time_order import in_time_order
from stream_prune.errors import RunError

LAST_USERS = {"ml-20m": 138_493, "ml-25m": 162_541}
"""The user whose ratings come last in a release's file; releases are laid out alike."""
LIKED = 4
DENSE = [{"name": "release_year", "missing": 1995}]
CATEGORICAL = [
    {"name": "user", "type": "integer"},
    {"name": "item", "type": "integer"},
    {"name": "genres", "multi": True},
    {"name": "hour", "type": "integer"},
    {"name": "weekday", "type": "integer"},
]
NO_GENRES = "(no genres listed)"

Ratings = Callable[[], Iterator[pa.Table]]


def write(path: Path, made_from: str, events: Ratings, rows: int | None) -> None:
    """The first ``rows`` events by time, to a Parquet file; what lies beside it is temporary."""
    write_events(path, made_from, first(in_time_order(events, "rated_at", path.parent), rows))


def check_release(ratings: Path, download: Download) -> None:
    """That the files are those of the release that is asked for, and not of one laid out alike.

    The README.txt beside them names it; without that, the last user of the whole file does.

    Raises:
        RunError: they are another's.
    """
    readme = ratings.with_name("README.txt")
    found, how = "", ""
    if readme.is_file():
        named = re.search(r"\((ml-[\w-]+)\)", readme.read_text(encoding="utf-8", errors="replace"))
        found, how = (named[1] if named else ""), f"{readme.name} beside it says so"
    if not found:
        last = _last_user(ratings)
        found = next((name for name, user in LAST_USERS.items() if user == last), "")
        how = f"its last user is {last}"
    if found and found != download.dataset:
        other = (
            f"fetch it as {found}" if found in LAST_USERS else f"there is no data set {found} here"
        )
        raise RunError(
            f"{ratings}: belongs to {found}, not to {download.dataset} ({how}): {other}, or: "
            f"{download.how()}"
        )


def _last_user(ratings: Path) -> int | None:
    with ratings.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 200))
        lines = file.read().decode("ascii", errors="replace").split()
    value = lines[-1].partition(",")[0] if lines else ""
    return int(value) if value.isdigit() else None


def rated(ratings: Iterator[pa.Table], films: pa.Table) -> Iterator[pa.Table]:
    """Events of ratings, in their order.

    Args:
        ratings: user, item, rating and timestamp (s).
        films: item, title and genres between bars.
    """
    year = pc.struct_field(pc.extract_regex(films["title"], r"\((?P<year>\d{4})\)\s*$"), "year")
    genres = pc.split_pattern(
        pc.if_else(pc.equal(films["genres"], NO_GENRES), None, films["genres"]), "|"
    )
    for table in ratings:
        film = pc.index_in(table["item"], films["item"])
        time = table["timestamp"].cast(pa.timestamp("s", tz="UTC"))
        yield pa.table(
            {
                "rated_at": time.cast(pa.timestamp("ms", tz="UTC")),
                "liked": pc.greater_equal(table["rating"], LIKED).cast(pa.int8()),
                "release_year": pc.take(year, film).cast(pa.int32()),
                "user": table["user"],
                "item": table["item"],
                "genres": pc.take(genres, film),
                "hour": pc.hour(time),
                "weekday": pc.day_of_week(time),  # 0 for Monday
            }
        )
