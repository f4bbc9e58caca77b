"""Implicit feedback in LightGCN's format: who has what, without times and without negatives.

``train.txt`` and ``test.txt`` have a line a user: the user's number and the numbers of the items,
between spaces. Users and items are numbered from 0. It is what LightGCN's authors publish of
Gowalla, Yelp2018 and Amazon-book (``gusye1234/LightGCN-PyTorch``, ``data/``), and with which the
literature after them compares.

For the recommenders of implicit feedback these are pairs (:func:`pairs`), split as the authors did.
As a stream of events they need what they do not have, and what is made up is told here: each
training pair is an event with the label 1 and is given one item that the user has no training pair
with, drawn evenly, as an event with the label 0; times are drawn evenly from 30 days from
2024-01-01. So the stream has no drift, no session and no season.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.datasets.own_download import Download, first, made_from
from stream_prune.datasets.time_order import in_time_order
from stream_prune.errors import RunError
from stream_prune.features import FeatureSpec
from stream_prune.interactions import Ids, InteractionLog

LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

START_MS, PERIOD_MS = 1_704_067_200_000, 30 * 86_400_000
USERS = 4_096
"""Users that are read at once."""

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "taken",
        "categorical": [
            {"name": "user", "type": "integer"},
            {"name": "item", "type": "integer"},
        ],
    }
)


def prepare(download: Download, folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file beside the user's ``train.txt``.

    Raises:
        ConfigError: ``rows`` is below 1, or a file is not there.
        RunError: a file is laid out in another way.
    """
    path = event_path(folder, download.dataset, rows)
    train, test = (download.find(folder, name) for name in ("train.txt", "test.txt"))
    made = made_from(LAYOUT, rows, train, test)
    if not is_made_from(path, made):
        items = 1 + max(_largest_item(file, download) for file in (train, test))
        stream = in_time_order(lambda: events(train, items, download), "time", path.parent)
        write_events(path, made, first(stream, rows))
    return [path]


def pairs(download: Download, folder: str | Path) -> tuple[InteractionLog, InteractionLog]:
    """The training and the test pairs, as their authors split them; all times are 0.

    Raises:
        ConfigError: a file is not there.
        RunError: a file is laid out in another way.
    """
    read = []
    for name in ("train.txt", "test.txt"):
        parts = list(_users(download.find(folder, name), download))
        empty = np.empty(0, np.int64)
        read.append(tuple(np.concatenate([empty, *each]) for each in zip(*parts, strict=True)))
    users, items = (1 + max(int(part[i].max(initial=-1)) for part in read) for i in (0, 1))
    logs = [InteractionLog(u, i, np.zeros_like(u), users, items) for u, i in read]
    return logs[0], logs[1]


def events(train: Path, items: int, download: Download) -> Iterator[pa.Table]:
    """The event stream: the columns of :data:`SPEC`, in the order of the users.

    Args:
        train: its pairs are the events.
        items: of both files, from which the others are drawn.
        download: what it is of.
    """
    rng = np.random.default_rng(zlib.crc32(download.dataset.encode()))
    for users, taken in _users(train, download):
        keys = np.unique(users * items + taken)
        full = np.flatnonzero(np.bincount(keys // items) == items)
        free = ~np.isin(users, full)  # a user who has everything leaves nothing to draw
        other = users[free]
        drawn = rng.integers(items, size=len(other))
        while (again := np.flatnonzero(np.isin(other * items + drawn, keys))).size:
            drawn[again] = rng.integers(items, size=again.size)
        every = len(users) + len(other)
        times = pa.array(START_MS + rng.integers(PERIOD_MS, size=every))
        yield pa.table(
            {
                "time": times.cast(pa.timestamp("ms", tz="UTC")),
                "taken": np.repeat(np.array([1, 0], np.int8), [len(users), len(other)]),
                "user": np.concatenate([users, other]),
                "item": np.concatenate([taken, drawn]),
            }
        )


def _largest_item(file: Path, download: Download) -> int:
    return max((int(items.max(initial=-1)) for _, items in _users(file, download)), default=-1)


def _users(file: Path, download: Download) -> Iterator[tuple[Ids, Ids]]:
    """Users and items [n] of some thousand lines at a time."""
    users, items = list[Ids](), list[Ids]()
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                user, *taken = map(int, line.split())
                if user < 0 or min(taken, default=0) < 0:
                    raise ValueError
            except ValueError:
                raise RunError(
                    f"{file}: line {number}: {line.strip()[:60]!r}: expected a user's number and "
                    f"its items' numbers between spaces, as in {download.archive} "
                    f"({download.source})"
                ) from None
            users.append(np.full(len(taken), user, np.int64))
            items.append(np.array(taken, np.int64))
            if len(users) == USERS:
                yield np.concatenate(users), np.concatenate(items)
                users, items = [], []
    if users:
        yield np.concatenate(users), np.concatenate(items)
