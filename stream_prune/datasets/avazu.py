"""Avazu's click-through-rate challenge: ten days of mobile ads, was an ad clicked?

Source: the user's own download of Kaggle's ``avazu-ctr-prediction``, of which ``train.gz`` (or
``train.csv``) is read: 24 columns between commas, named in the first line.

Licence: Kaggle's competition rules, which the download asks to accept: the competition and
research, no redistribution.

40,428,967 events in the order of their hour, from 2014-10-21 on (UTC), non-clicks and clicks
subsampled in different ways. An event's time is the beginning of its hour; within an hour they are
as published. The label counts as known at once. ``id``, which is another one in each row, is no
feature; hour of the day and weekday are made of ``hour``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.datasets.own_download import Download, Layout, first, made_from, read
from stream_prune.errors import RunError
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "avazu: 40,428,967 mobile ads of ten days, was it clicked; your own download of Kaggle's "
    "avazu-ctr-prediction (train.gz); competition and research use, do not redistribute"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

DOWNLOAD = Download("avazu", "avazu-ctr-prediction.zip", "Kaggle, Click-Through Rate Prediction")
TEXT = (
    "site_id",
    "site_domain",
    "site_category",
    "app_id",
    "app_domain",
    "app_category",
    "device_id",
    "device_ip",
    "device_model",
)
NUMBERS = ("device_type", "device_conn_type", *(f"C{i}" for i in range(14, 22)))
FILE = Layout(
    columns={
        "id": pa.string(),  # some have more than 64 bits
        "click": pa.int8(),
        "hour": pa.string(),
        "C1": pa.int64(),
        "banner_pos": pa.int64(),
        **dict.fromkeys(TEXT, pa.string()),
        **dict.fromkeys(NUMBERS, pa.int64()),
    },
    header=True,
    delimiter=",",
)
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "click",
        # C20 may be -1: categories are taken as text.
        "categorical": ["C1", "banner_pos", *TEXT, *NUMBERS, "hour_of_day", "weekday"],
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file beside the user's ``train.gz``.

    Raises:
        ConfigError: ``rows`` is below 1, or the file is not there.
        RunError: it is laid out in another way.
    """
    path = event_path(folder, "avazu", rows)
    source = DOWNLOAD.find(folder, "train.gz", "train.csv", "train")
    made = made_from(LAYOUT, rows, source)
    if not is_made_from(path, made):
        write_events(path, made, first(events(source), rows))
    return [path]


def events(source: Path) -> Iterator[pa.Table]:
    """The event stream: the columns of :data:`SPEC`, in the file's order."""
    for table in read(source, FILE, DOWNLOAD):
        try:
            time = pc.strptime(table["hour"], format="%y%m%d%H", unit="ms")
        except pa.ArrowInvalid as error:
            raise RunError(f"{source}: hour: {error}: expected YYMMDDHH, as 14102100") from None
        yield (
            table.drop_columns(["id", "hour"])
            .append_column("time", time.cast(pa.timestamp("ms", tz="UTC")))
            .append_column("hour_of_day", pc.hour(time))
            .append_column("weekday", pc.day_of_week(time))  # 0 for Monday
        )
