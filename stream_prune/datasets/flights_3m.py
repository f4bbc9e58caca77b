"""Three million flights inside the United States, January to June 2001: 15 or more minutes late?

Source: ``data/flights-3m.parquet`` of the npm package vega-datasets 3.2.1, which is fetched with
``npm pack`` (17.6 MB) and read, never installed; from the US Bureau of Transportation Statistics'
on-time performance data. Licence: public domain (a work of the US government).

3,000,000 events in the order of departure, which is local time to the minute (many minutes are no
multiple of five, so not the scheduled one), taken here as if it were UTC. The label says whether
the flight was 15 or more minutes late and counts as known a day later. Features are distance,
origin, destination, their pair, hour and weekday.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream_prune.datasets.event_file import event_path, is_made_from, replacing, write_events
from stream_prune.datasets.own_download import first
from stream_prune.errors import RunError
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "flights-3m: 3,000,000 flights inside the United States in 2001, 15 or more minutes late; npm "
    "vega-datasets 3.2.1 (BTS), public domain"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

PACKAGE = "vega-datasets@3.2.1"
ARCHIVE = "vega-datasets-3.2.1.tgz"
MEMBER = "package/data/flights-3m.parquet"
DIGEST = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0"
"""SHA-256 of the file in the archive."""

LATE_MINUTES = 15
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "departure",
        "label": "late",
        "label_delay": "1d",
        "dense": [{"name": "distance", "transform": "log1p"}],
        "categorical": [
            "origin",
            "destination",
            "route",
            {"name": "hour", "type": "integer"},
            {"name": "weekday", "type": "integer"},
        ],
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events (all of them by default) as one Parquet file in ``folder``.

    A file that is there already, of the same code, is left as it is. What npm fetched stays in
    ``folder``, so that the network is needed once.

    Raises:
        ConfigError: ``rows`` is below 1.
        RunError: the package can't be fetched, or holds other data.
    """
    path = event_path(folder, "flights-3m", rows)
    made = f"{LAYOUT}:{rows}:{DIGEST[:16]}"
    if not is_made_from(path, made):
        write_events(path, made, first(events(published(Path(folder))), rows))
    return [path]


def events(source: Path) -> Iterator[pa.Table]:
    """The event stream: the columns of :data:`SPEC`, row group by row group."""
    for batch in pq.ParquetFile(source).iter_batches(1 << 16):
        time = batch["date"].cast(pa.timestamp("ms"))
        ends = [batch[name].cast(pa.string()) for name in ("origin", "destination")]
        yield pa.table(
            {
                "departure": time.cast(pa.timestamp("ms", tz="UTC")),
                "late": pc.greater_equal(batch["delay"], LATE_MINUTES).cast(pa.int8()),
                "distance": batch["distance"],
                "origin": ends[0],
                "destination": ends[1],
                "route": pc.binary_join_element_wise(*ends, "-"),
                "hour": pc.hour(time),
                "weekday": pc.day_of_week(time),  # 0 for Monday
            }
        )


def published(folder: Path) -> Path:
    """The file as published, in ``folder``; fetched if it isn't there.

    Raises:
        RunError: npm can't fetch the package, or it holds another file.
    """
    path = folder / "vega-datasets-3.2.1-flights-3m.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as inside:
            archive = folder / ARCHIVE
            _unpack(archive if archive.exists() else _fetched(Path(inside)), path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST:
        raise RunError(f"{path}: is not the file that is expected: remove it and try again")
    return path


def _fetched(inside: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        said = "npm is not installed"
    else:
        done = subprocess.run(
            [npm, "pack", PACKAGE], cwd=inside, capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and (inside / ARCHIVE).exists():
            return inside / ARCHIVE
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
    raise RunError(
        f"the data set flights-3m is read from the npm package {PACKAGE}, which could not be "
        f"fetched ({said}): try again with a network, or put {ARCHIVE} into {inside.parent}"
    )


def _unpack(archive: Path, path: Path) -> None:
    try:
        with tarfile.open(archive) as packed, replacing(path) as temporary:
            member = packed.extractfile(MEMBER)
            assert member is not None
            with member, temporary.open("wb") as file:
                shutil.copyfileobj(member, file)
    except (OSError, KeyError, tarfile.TarError) as error:
        raise RunError(f"{archive}: cannot be read ({error}): remove it and try again") from None
