"""Microsoft News (MIND): one week of impressions, will a reader click on a headline?

Source: the user's own download of ``MINDlarge_train.zip`` or ``MINDsmall_train.zip`` (or a
``_dev.zip``, whose impressions say what was clicked, too), of which ``behaviors.tsv`` and
``news.tsv`` are read: values between tabs, no header.

Licence: Microsoft Research Licence Terms: non-commercial research. Nothing of it lies in this
project: do not redistribute. F. Wu et al.: MIND: A Large-scale Dataset for News Recommendation.
ACL 2020.

An event is a headline that was shown: MINDlarge_train has 2,232,748 impressions with about 37
headlines each, 4 % of them clicked. Impressions are brought into the order of time (taken as UTC,
which the publisher does not say) on disk. The label counts as known ten minutes later. The reader's
``history`` are the last 20 articles clicked on before that week; category and subcategory are the
catalogue's. Titles and texts are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.datasets.own_download import Download, Layout, first, made_from, read, whole
from stream_prune.datasets.time_order import in_time_order
from stream_prune.errors import RunError
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "mind: headlines shown in a week of Microsoft News, was one clicked; your own download of MIND "
    "(behaviors.tsv, news.tsv); non-commercial research, do not redistribute"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

DOWNLOAD = Download("mind", "MINDlarge_train.zip or MINDsmall_train.zip", "msnews.github.io")
BEHAVIORS = Layout(
    dict.fromkeys(("impression", "user", "time", "history", "impressions"), pa.string())
)
NEWS = Layout(
    dict.fromkeys(
        (
            "item",
            "category",
            "subcategory",
            "title",
            "abstract",
            "url",
            "title_entities",
            "abstract_entities",
        ),
        pa.string(),
    )
)
HISTORY = 20
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "clicked",
        "label_delay": "10min",
        "categorical": [
            "user",
            "item",
            "category",
            "subcategory",
            {"name": "history", "multi": True},
            {"name": "hour", "type": "integer"},
        ],
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file beside the user's files.

    Raises:
        ConfigError: ``rows`` is below 1, or a file is not there.
        RunError: a file is laid out in another way.
    """
    path = event_path(folder, "mind", rows)
    behaviors = DOWNLOAD.find(folder, "behaviors.tsv")
    news = DOWNLOAD.find(folder, "news.tsv")
    made = made_from(LAYOUT, rows, behaviors, news)
    if not is_made_from(path, made):
        catalogue = whole(news, NEWS, DOWNLOAD).select(["item", "category", "subcategory"])
        impressions = in_time_order(lambda: _timed(behaviors), "time", path.parent)
        shown = (events(table, catalogue, behaviors) for table in impressions)
        write_events(path, made, first(shown, rows))
    return [path]


def events(impressions: pa.Table, news: pa.Table, source: Path) -> pa.Table:
    """The event stream of impressions [B]: one event a headline that was shown.

    Raises:
        RunError: the impressions do not say what was clicked.
    """
    split = pc.split_pattern(impressions["impressions"], " ").combine_chunks()
    which, shown = pc.list_parent_indices(split), pc.list_flatten(split)
    parts = pc.extract_regex(shown, r"^(?P<item>.+)-(?P<clicked>[01])$")
    if parts.null_count:
        bad = shown.filter(pc.is_null(parts))[0].as_py()
        raise RunError(
            f"{source}: impressions: {bad!r}: expected headlines with what became of them, as "
            f"N55689-1 N35729-0; a test set has none: use {DOWNLOAD.archive}"
        )
    item = pc.struct_field(parts, "item")
    known = news.take(pc.index_in(item, news["item"]))
    last = pc.extract_regex(impressions["history"], rf"(?P<last>(?:\S+ ){{0,{HISTORY - 1}}}\S+)$")
    history = pc.split_pattern(pc.struct_field(last, "last"), " ")
    time = impressions["time"].take(which)
    return pa.table(
        {
            "time": time,
            "clicked": pc.struct_field(parts, "clicked").cast(pa.int8()),
            "user": impressions["user"].take(which),
            "item": item,
            "category": known["category"],
            "subcategory": known["subcategory"],
            "history": history.take(which),
            "hour": pc.hour(time),
        }
    )


def _timed(behaviors: Path) -> Iterator[pa.Table]:
    for table in read(behaviors, BEHAVIORS, DOWNLOAD):
        try:
            time = pc.strptime(table["time"], format="%m/%d/%Y %I:%M:%S %p", unit="ms")
        except pa.ArrowInvalid as error:
            raise RunError(
                f"{behaviors}: time: {error}: expected month/day/year, as 11/15/2019 8:55:22 AM"
            ) from None
        place = table.column_names.index("time")
        yield table.set_column(place, "time", time.cast(pa.timestamp("ms", tz="UTC")))
