"""KuaiRand: a month of short videos, will a user click on (or watch) one?

Source: the user's own download of KuaiRand-Pure, KuaiRand-1K or KuaiRand-27K (zenodo.org, record
10439422), of which all ``log_*.csv`` and ``user_features_*.csv`` are read.

Licence: CC BY-SA 4.0. C. Gao et al.: KuaiRand: An Unbiased Sequential Recommendation Dataset with
Randomly Exposed Videos. CIKM 2022 (arXiv 2208.08696).

2.6 million events in Pure, 11.8 million in 1K, 323 million in 27K, from 8 April to 8 May 2022, in
the order of ``time_ms`` (UTC), to which they are brought on disk. The label is ``is_click``, known
ten minutes later. ``is_rand`` says that a video was drawn at random. What is known only afterwards
(other feedback, how long was watched) is no feature. The features of videos (up to 2.6 GB) are left
out, those of users are the ranges, which the publisher gives once for the whole month.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.datasets.own_download import Download, Layout, first, made_from, read
from stream_prune.datasets.time_order import in_time_order
from stream_prune.errors import RunError
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "kuairand: short videos of a month, was one clicked; your own download of KuaiRand-Pure, -1K "
    "or -27K (log_*.csv, user_features_*.csv); CC BY-SA 4.0"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

DOWNLOAD = Download(
    "kuairand", "KuaiRand-Pure.tar.gz (or -1K, -27K)", "zenodo.org/records/10439422"
)
FEEDBACK = (
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "long_view",
    "play_time_ms",
    "duration_ms",
    "profile_stay_time",
    "comment_stay_time",
    "is_profile_enter",
)
LOG = Layout(
    dict.fromkeys(
        ("user_id", "video_id", "date", "hourmin", "time_ms", *FEEDBACK, "is_rand", "tab"),
        pa.int64(),
    ),
    header=True,
    delimiter=",",
)
USER = (
    "user_active_degree",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "is_click",
        "label_delay": "10min",
        "dense": [{"name": "duration_ms", "transform": "log1p", "missing": 0}],
        "categorical": [
            {"name": "user_id", "type": "integer"},
            {"name": "video_id", "type": "integer"},
            {"name": "tab", "type": "integer"},
            {"name": "is_rand", "type": "integer"},
            {"name": "hour", "type": "integer"},
            *USER,
        ],
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file in the user's folder.

    Raises:
        ConfigError: ``rows`` is below 1, or a file is not there.
        RunError: a file is laid out in another way.
    """
    path = event_path(folder, "kuairand", rows)
    one = DOWNLOAD.find(folder, "log_standard_*.csv")
    logs = sorted(one.parent.glob("log_*.csv"))
    users = DOWNLOAD.find(one.parent, "user_features_*.csv")
    made = made_from(LAYOUT, rows, *logs, users)
    if not is_made_from(path, made):
        stream = in_time_order(lambda: events(logs, users), "time", path.parent)
        write_events(path, made, first(stream, rows))
    return [path]


def events(logs: Sequence[Path], users: Path) -> Iterator[pa.Table]:
    """The event stream: the columns of :data:`SPEC`, file by file."""
    known = _users(users)
    for log in logs:
        for table in read(log, LOG, DOWNLOAD):
            time = table["time_ms"].cast(pa.timestamp("ms", tz="UTC"))
            user = known.take(pc.index_in(table["user_id"], known["user_id"]))
            columns = {name: table[name] for name in ("user_id", "video_id", "tab", "is_rand")}
            yield pa.table(
                {
                    "time": time,
                    "is_click": table["is_click"].cast(pa.int8()),
                    "duration_ms": table["duration_ms"],
                    **columns,
                    "hour": pc.hour(time),
                    **{name: user[name] for name in USER},
                }
            )


def _users(path: Path) -> pa.Table:
    """Users and their ranges, as text."""
    types = {"user_id": pa.int64(), **dict.fromkeys(USER, pa.string())}
    convert = pyarrow.csv.ConvertOptions(column_types=types, include_columns=list(types))
    try:
        return pyarrow.csv.read_csv(path, convert_options=convert)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise RunError(
            f"{path}: {error}: expected the columns {', '.join(types)} among others, as in "
            f"{DOWNLOAD.archive} ({DOWNLOAD.source})"
        ) from None
