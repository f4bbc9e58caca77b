from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.encoding import encode
from stream_prune.errors import ConfigError
from stream_prune.event_times import LATEST, event_times
from stream_prune.features import Categorical, FeatureSpec

NOON = 1_357_041_600_000  # 2013-01-01T12:00Z


def times(values):
    return event_times("t", values).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "2013-01-01T12:00Z",
        "2013-01-01 12:00:00",
        " 2013-01-01T12:00:00.0\n",
        "2013-01-01T12:00:00.000999999Z",
        "2013-01-01T17:30+05:30",
        "2013-01-01T17:30:00.000+0530",
        "2013-01-01 07:00:00-05",
        "2013-01-02T01:00:00+13:00",
        "2012-12-31T23:00-13:00",
    ],
)
def test_iso_8601_is_read_with_its_offset_and_as_utc_without(text):
    assert times(pa.array([text])) == [NOON]


def test_one_impossible_day_changes_nothing_for_its_neighbours():
    neighbours = ["2013-01-01T17:30:00+05:30", "2013-01-01 07:00-0500", "2013-01-01T12:00"]
    wrong = ["2013-02-30", "2013-02-29T12:00+05:00", "2013-04-31 12:00:00.123456Z", "1900-02-29"]
    assert times(pa.array([*neighbours, *wrong, "2012-02-29"])) == [
        *[NOON] * 3,
        *[-1] * 4,
        1_330_473_600_000,
    ]


@given(
    st.lists(
        st.datetimes(
            dt.datetime(1971, 1, 1),
            dt.datetime(9998, 1, 1),
            timezones=st.none()
            | st.integers(-23 * 60 - 59, 23 * 60 + 59).map(
                lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))
            ),
        ),
        min_size=1,
    ),
    st.booleans(),
)
def test_every_time_that_python_writes_is_read_the_same(moments, with_an_impossible_day):
    utc = [m.replace(tzinfo=m.tzinfo or dt.UTC) for m in moments]
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    expected = [(m - epoch) // dt.timedelta(milliseconds=1) for m in utc]
    text = [m.isoformat() for m in moments]
    if with_an_impossible_day:
        text, expected = [*text, "2013-02-30"], [*expected, -1]
    assert times(pa.array(text)) == expected
    assert times(pa.array(text, pa.large_string())) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "soon",
            "-5",
            "20130101",
            "20131231",
            "1.5",
            "1e12",
            "9" * 18,
            "9" * 19,
            "2013-13-01",
            "2013-00-10",
            "2013-01-00",
            "2013-01-32",
        ),
        *("2013-01-01T24:00", "2013-01-01T12:60", "2013-01-01T12:00:60", "2013-01-01T12"),
        *("2013-01-01T12:00+24:00", "2013-01-01T12:00 +01:00", "2013-01-01Z"),
        *("1969-12-31T23:59Z", "1970-01-01T00:00+00:01", "0000-01-01", "2013-01-01T12:00UTC"),
    ],
)
def test_text_that_is_no_time_is_refused(text):
    assert times(pa.array([text, "2013-01-01"])) == [-1, NOON - 43_200_000]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_timestamps_of_every_unit_are_moments_in_utc(unit, zone):
    kind = pa.timestamp(unit, tz=zone)
    moment = pa.array([NOON], pa.timestamp("ms", tz=zone)).cast(kind)
    extremes = pa.array([-1, -(2**63), None], pa.int64()).cast(kind)
    assert times(moment) == [NOON]
    assert times(extremes) == [-1, -1, -1]


def test_a_timestamp_that_no_int64_of_milliseconds_holds_is_refused():
    assert times(pa.array([2**62, 2**63 - 1], pa.timestamp("s"))) == [-1, -1]


def test_days_are_their_first_instant():
    assert times(pa.array([dt.date(2013, 1, 1), None])) == [NOON - 43_200_000, -1]
    assert times(pa.array([dt.date(2013, 1, 1)], pa.date64())) == [NOON - 43_200_000]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_are_milliseconds_up_to_the_year_9999(numbers):
    numbers = [*numbers, 0, LATEST, LATEST + 1]
    expected = [n if 0 <= n <= LATEST else -1 for n in numbers]
    assert times(pa.array(numbers, pa.int64())) == expected


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, LATEST + 5), min_size=1))
def test_a_text_of_digits_is_the_same_time_as_that_integer(numbers):
    numbers = [n for n in numbers if not 19000101 <= n <= 20991231]
    text = [f" {n}" for n in numbers]
    expected = times(pa.array(numbers, pa.int64()))
    assert times(pa.array(text, pa.string())) == expected
    assert times(pa.array([*text, "2013-01-01T12:00Z", None, "2013-02-30"])) == [
        *expected,
        NOON,
        -1,
        -1,
    ]


def test_unsigned_integers_beyond_int64_are_refused():
    assert times(pa.array([2**64 - 1, 2**63, 5], pa.uint64())) == [-1, -1, 5]


@pytest.mark.parametrize("values", [pa.array([1.5]), pa.array([True]), pa.array([dt.time(1)])])
def test_a_column_that_can_hold_no_times_is_refused(values):
    with pytest.raises(ConfigError, match="column 't' has the type"):
        event_times("t", values)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pa.array(["2013-02-30"]), "'2013-02-30'"),
        (pa.array([None], pa.string()), "None"),
        (pa.array([-5]), "-5"),
        (pa.array([2**62], pa.timestamp("s")), "4611686018427387904"),
        (pa.array([-1], pa.timestamp("ns")), "1969-12-31 23:59:59.999999999"),
        (pa.array(["x"]).dictionary_encode(), "'x'"),
    ],
)
def test_a_refused_time_is_shown_as_it_was(values, shown):
    spec = FeatureSpec((), (Categorical("c"),), "y", "t")
    batch = pa.RecordBatch.from_pydict({"c": ["a"], "y": [0], "t": values})
    ((row, reason),) = encode(spec, batch).reasons
    assert row == 0
    assert reason.startswith("column 't': ")
    assert shown in reason


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_whole_numbers_that_must_be_seconds_are_refused_with_what_to_do(kind: pa.DataType) -> None:
    spec = FeatureSpec(event_time="t", label="y", dense=(), categorical=(Categorical("c"),))
    times = [1_700_000_000, 1_700_000_000_000, 0]
    columns = {"t": pa.array(times).cast(kind), "y": [0, 1, 0], "c": ["a", "b", "c"]}
    encoded = encode(spec, pa.RecordBatch.from_pydict(columns))
    assert encoded.good.tolist() == [False, True, True]
    ((row, reason),) = encoded.reasons
    assert row == 0
    assert "looks like seconds since 1970" in reason
    assert "multiply by 1,000" in reason


def test_a_timestamp_of_early_1970_is_what_it_says() -> None:
    spec = FeatureSpec(event_time="t", label="y", dense=(), categorical=(Categorical("c"),))
    for times in (pa.array([1_700_000_000]).cast(pa.timestamp("ms")), ["1970-01-20T16:13:20Z"]):
        columns = {"t": times, "y": [0], "c": ["a"]}
        assert encode(spec, pa.RecordBatch.from_pydict(columns)).good.tolist() == [True]
