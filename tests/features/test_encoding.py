from __future__ import annotations

import decimal
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_prune.encoding import encode
from stream_prune.errors import ConfigError
from stream_prune.features import (
    FLOAT32_MAX,
    MISSING_ID,
    Categorical,
    Dense,
    FeatureSpec,
    hash_string,
    hash_strings,
)

T = 1_357_000_000_000


def spec(dense=(), multi=False, key=None, type="string"):  # noqa: A002
    return FeatureSpec(tuple(dense), (Categorical("c", multi, type),), "y", "t", key)


def raw(rows, **columns):
    """A raw batch; what is not given is there and good."""
    good = {"c": ["a"] * rows, "y": [0] * rows, "t": [T] * rows}
    return pa.RecordBatch.from_pydict({**good, **columns})


def one(column, values, the_spec):
    """The encoded column and the reasons, for a batch that is otherwise good."""
    encoded = encode(the_spec, raw(len(values), **{column: values}))
    return encoded, dict(encoded.reasons)


def dense(values, **options):
    encoded, reasons = one("x", values, spec([Dense("x", **options)]))
    return encoded.batch.column("x").to_pylist(), reasons


def test_the_columns_come_in_the_order_of_the_specification():
    the_spec = FeatureSpec(
        (Dense("x"),), (Categorical("c"), Categorical("g", multi=True)), "y", "t", "k"
    )
    batch = raw(1, k=["k"], x=[1], g=[["a", "b"]], extra=[0])
    encoded = encode(the_spec, batch).batch
    assert encoded.schema == pa.schema(
        [
            ("x", pa.float32()),
            ("c", pa.int64()),
            ("g", pa.list_(pa.int64())),
            ("__event_time", pa.int64()),
            ("__label", pa.float32()),
            ("__event_key", pa.int64()),
        ]
    )


def test_serving_needs_the_inputs_alone_and_gets_the_same_values():
    the_spec = spec([Dense("x", "log1p")])
    batch = raw(2, x=[1.5, 3], c=["a", None])
    served = encode(the_spec, batch.select(["c", "x"]), labels=False).batch
    assert served.equals(encode(the_spec, batch).batch.select(["x", "c"]))


@pytest.mark.parametrize("column", ["x", "c", "y", "t"])
def test_a_missing_column_is_named_together_with_those_that_are_there(column):
    batch = raw(1, x=[1]).drop_columns([column])
    with pytest.raises(ConfigError, match=f"column '{column}' is missing; there are: "):
        encode(spec([Dense("x")]), batch)


def test_a_column_that_is_there_twice_is_refused():
    batch = raw(1)
    twice = pa.RecordBatch.from_arrays([*batch.columns, batch.column(0)], ["c", "y", "t", "c"])
    with pytest.raises(ConfigError, match="column 'c' is there twice"):
        encode(spec(), twice)


def test_no_rows_are_no_error():
    columns = {"x": pa.array([], pa.string()), "c": pa.array([], pa.list_(pa.string()))}
    batch = raw(0, **columns, t=pa.array([], pa.timestamp("us")), y=pa.array([], pa.int8()))
    encoded = encode(spec([Dense("x")], multi=True), batch)
    assert encoded.batch.num_rows == 0
    assert encoded.reasons == []


# Dense columns


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2], pa.int8()),
        pa.array([1, 2], pa.uint64()),
        pa.array([1, 2], pa.float16()),
        pa.array([decimal.Decimal("1.0"), decimal.Decimal("2.0")]),
        pa.array(["1", " 2.0e0 "]),
        pa.array(["+1.", "2"], pa.large_string()),
        pa.array(["1", "2"], pa.string_view()),
        pa.array(["1", "2"]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_numbers_are_read_from_every_type_that_can_hold_them(values):
    assert dense(values) == ([1.0, 2.0], {})


def test_booleans_are_numbers():
    assert dense(pa.array([True, False])) == ([1.0, 0.0], {})


def test_a_column_that_can_hold_no_numbers_is_refused():
    with pytest.raises(ConfigError, match="column 'x' has the type list<item: int64>"):
        dense(pa.array([[1]]))


@pytest.mark.parametrize("text", ["abc", "1,5", "0x10", "1_000", "nan", "inf", "--1", "1e", "."])
def test_text_that_is_no_number_is_refused_with_the_text(text):
    values, reasons = dense([text, "1"])
    assert values == [1.0]
    assert reasons == {0: f"column 'x': {text!r}: is no number"}


@pytest.mark.parametrize("absent", [None, math.nan])
@pytest.mark.parametrize("options", [{}, {"transform": "log1p"}])
def test_a_missing_number_is_refused_or_replaced_before_the_transform(absent, options):
    values = pa.array([absent, 0.0], pa.float64())
    assert "is missing" in dense(values, **options)[1][0]
    filled, reasons = dense(values, missing=3, **options)
    assert reasons == {}
    assert filled[0] == pytest.approx(math.log1p(3) if options else 3)


def test_empty_text_is_a_missing_number():
    assert "is missing" in dense(["", "1"])[1][0]
    assert dense(["", " ", None], missing=5) == ([5.0, 5.0, 5.0], {})


def test_a_column_of_nulls_is_all_missing():
    assert dense(pa.array([None, None]), missing=5) == ([5.0, 5.0], {})


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e39, -1e300])
def test_what_float32_cannot_hold_is_refused(value):
    assert "finite" in dense([value], missing=0)[1][0]
    assert "finite" in dense([value], transform="clip", low=0, high=1)[1][0]


def test_text_beyond_float64_is_refused():
    assert "finite" in dense(["1e999"])[1][0]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), min_size=1))
@example([-1.0])
def test_what_passes_is_finite_and_what_does_not_is_named(values):
    for options in ({}, {"transform": "log1p"}, {"transform": "clip", "low": -1, "high": 1}):
        encoded, reasons = dense(pa.array(values, pa.float64()), **options)
        assert np.isfinite(encoded).all()
        assert len(encoded) + len(reasons) == len(values)
        bad = [v is None or not abs(v) <= FLOAT32_MAX for v in values]
        assert sorted(reasons) == np.flatnonzero(bad).tolist()


def test_the_transforms_do_what_their_names_say():
    assert dense([-2, 0, 5], transform="clip", low=-1, high=2)[0] == [-1.0, 0.0, 2.0]
    logs = dense([-2, 0, 5], transform="log1p")[0]
    assert logs == pytest.approx([0, 0, math.log(6)])


# Ids


def ids(values, type="string"):  # noqa: A002
    encoded, reasons = one("c", values, spec(type=type))
    return encoded.batch.column("c").to_pylist(), reasons


def integers(values):
    return ids(values, "integer")


def as_text(values):
    return [None if v is None else str(v) for v in values]


@given(st.lists(st.none() | st.integers(-(2**63), 2**64 - 1), min_size=1))
def test_an_integer_has_the_id_of_its_text(values):
    small = [v if v is None or v < 2**63 else None for v in values]
    large = [v if v is None or v >= 0 else None for v in values]
    for numbers, kind in ((small, pa.int64()), (large, pa.uint64())):
        found, reasons = ids(pa.array(numbers, kind))
        assert (found, reasons) == ids(pa.array(as_text(numbers), pa.string()))
        assert found == [MISSING_ID if v is None else hash_string(str(v)) for v in numbers]
        assert ids(pa.array(numbers, kind).dictionary_encode()) == (found, {})


def test_a_boolean_has_the_id_of_its_word():
    assert ids(pa.array([True, False, None])) == ids(pa.array(["true", "false", None]))


@given(st.lists(st.none() | st.text()))
def test_text_is_hashed_whatever_holds_it(words):
    expected = hash_strings(pa.array(words, pa.string())).tolist()
    kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]
    for kind in [*kinds, pa.dictionary(pa.int16(), pa.string())]:
        assert ids(pa.array(words, pa.string()).cast(kind)) == (expected, {})


def test_a_column_of_nulls_is_all_missing_ids():
    assert ids(pa.array([None, None])) == ([MISSING_ID, MISSING_ID], {})
    assert integers(pa.array([None, None])) == ([MISSING_ID, MISSING_ID], {})


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.int64(), pa.uint16(), pa.uint64()])
def test_declared_integers_are_ids_as_they_are_and_null_is_missing(kind):
    assert integers(pa.array([0, 7, None], kind)) == ([0, 7, MISSING_ID], {})
    assert integers(pa.array([0, 7, None], kind).dictionary_encode()) == ([0, 7, MISSING_ID], {})


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1))
@example([MISSING_ID, MISSING_ID - 1, -1, None])
def test_a_signed_integer_outside_the_ids_is_refused(values):
    found, reasons = integers(pa.array(values, pa.int64()))
    good = [v for v in values if v is None or 0 <= v < MISSING_ID]
    assert found == [MISSING_ID if v is None else v for v in good]
    assert len(reasons) == len(values) - len(good)


@given(st.lists(st.none() | st.integers(0, 2**64 - 1), min_size=1))
@example([MISSING_ID, MISSING_ID - 1, 2**63, 2**64 - 1, None])
def test_an_unsigned_integer_outside_the_ids_is_refused(values):
    found, reasons = integers(pa.array(values, pa.uint64()))
    assert found == [MISSING_ID if v is None else v for v in values if v is None or v < MISSING_ID]
    for row, value in enumerate(values):
        if value is not None and value >= MISSING_ID:
            assert str(value) in reasons[row]


def test_declared_booleans_are_the_ids_0_and_1():
    assert integers(pa.array([True, False, None])) == ([1, 0, MISSING_ID], {})


@given(st.lists(st.none() | st.integers(-5, 2**65), min_size=1))
@example([MISSING_ID, MISSING_ID - 1, 2**64 - 1, 2**64, 10**19 - 1, 10**19, None])
def test_text_of_a_declared_integer_is_that_integer(values):
    words = pa.array(as_text(values), pa.string())
    good = [v for v in values if v is None or 0 <= v < MISSING_ID]
    expected = [MISSING_ID if v is None else v for v in good]
    kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary_view()]
    for kind in [*kinds, pa.dictionary(pa.int16(), pa.string())]:
        found, reasons = integers(words.cast(kind))
        assert found == expected
        assert len(reasons) == len(values) - len(good)


def test_other_text_in_a_column_of_integers_is_refused_and_blank_text_is_missing():
    found, reasons = integers(["007", " 12\t", "", "  ", "1.0", "a1", "-0", "٣", None])
    assert found == [7, 12, *[MISSING_ID] * 3]
    assert sorted(reasons) == [4, 5, 6, 7]
    assert reasons[5].startswith("column 'c': 'a1': an integer id must be in [0, ")


def broken_text():
    """One string array, [invalid UTF-8, "1"], as a damaged Parquet file gives it."""
    offsets = np.array([0, 2, 3], np.int32).tobytes()
    return pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"\xff\xfe1")]
    )


def test_bytes_that_are_no_text_break_nothing():
    assert len(ids(broken_text())[0]) == 2
    assert integers(broken_text())[0] == [1]
    assert dense(broken_text())[1] == {0: "column 'x': '��': is no number"}
    assert sorted(one("t", broken_text(), spec())[1]) == [0]
    assert sorted(one("y", broken_text(), spec())[1]) == [0]


@pytest.mark.parametrize("values", [pa.array([1.0]), pa.array([{"a": 1}]), pa.array([T], "date64")])
def test_a_column_that_can_hold_no_ids_is_refused(values):
    with pytest.raises(ConfigError, match="ids are strings or integers"):
        ids(values)


# Lists of ids


def bags(values, type="integer"):  # noqa: A002
    encoded, reasons = one("c", values, spec(multi=True, type=type))
    return encoded.batch.column("c").to_pylist(), reasons


@given(st.lists(st.none() | st.lists(st.none() | st.integers(-2, 5), max_size=3), min_size=1))
def test_a_null_list_is_empty_and_a_null_in_it_a_missing_id(values):
    good = [v for v in values if all(i is None or i >= 0 for i in v or [])]
    expected = [[MISSING_ID if i is None else i for i in v or []] for v in good]
    for kind in (pa.list_(pa.int64()), pa.large_list(pa.int8())):
        array = pa.array([[9], *values, [9]], kind)[1:-1]
        found, reasons = bags(array)
        assert found == expected
        assert len(reasons) == len(values) - len(good)


@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3), min_size=1))
def test_lists_of_text_are_hashed(values):
    hashes = lambda words: hash_strings(pa.array(words, pa.string())).tolist()  # noqa: E731
    expected = [hashes(v) if v else [] for v in values]
    assert bags(pa.array(values, pa.list_(pa.string())), "string") == (expected, {})


def test_lists_of_a_fixed_size_are_lists():
    assert bags(pa.array([[1, 2], None], pa.list_(pa.int64(), 2))) == ([[1, 2], []], {})


@pytest.mark.parametrize("type", ["string", "integer"])
def test_lists_that_say_nothing_are_empty_or_hold_missing_ids(type):  # noqa: A002
    for values in ([None, None], [[], []], [[], None]):
        assert bags(pa.array(values), type) == ([[], []], {})
        assert bags(pa.array(values, pa.large_list(pa.null())), type) == ([[], []], {})
    mixed = pa.array([[None, None], None, [], [None]])
    expected = [[MISSING_ID, MISSING_ID], [], [], [MISSING_ID]]
    assert bags(mixed, type) == (expected, {})
    assert bags(mixed.slice(1), type) == (expected[1:], {})
    assert bags(pa.array([[], [None]], pa.list_(pa.null(), -1)), type) == (
        [[], [MISSING_ID]],
        {},
    )


def test_the_whole_list_is_shown_when_one_id_is_wrong():
    assert "[1, -5]" in bags(pa.array([[1, -5]]))[1][0]


def test_one_id_and_lists_of_ids_are_not_mistaken_for_each_other():
    with pytest.raises(ConfigError, match=r"'c' holds lists.*multi: false"):
        ids(pa.array([[1]]))
    with pytest.raises(ConfigError, match=r"'c' holds one id a row.*multi: true"):
        bags(pa.array([1]))


# Labels and keys


def labels(values):
    encoded, reasons = one("y", values, spec())
    return encoded.batch.column("__label").to_pylist(), reasons


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0, 1, None], pa.int8()),
        pa.array([0, 1, None], pa.uint64()),
        pa.array([0.0, 1.0, None]),
        pa.array([False, True, None]),
        pa.array(["0", " 1.0 ", ""]),
        pa.array(["0", "1", None]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_a_label_is_0_or_1_or_null_in_every_type(values):
    assert labels(values) == ([0.0, 1.0, None], {})


@pytest.mark.parametrize("value", [2, -1, 0.5, 1 + 1e-12, 1e-60, math.nan, math.inf, "x", "nan"])
def test_any_other_label_is_refused_with_its_value(value):
    found, reasons = labels([value])
    assert found == []
    assert repr(value)[:6] in reasons[0]
    assert "a label is 0, 1 or null" in reasons[0]


def test_a_log_without_any_label_is_unlabelled():
    assert labels(pa.array([None, None])) == ([None, None], {})


def test_an_events_key_is_the_same_as_text_and_as_an_integer():
    keys = [
        one("k", values, spec(key="k"))[0].batch.column("__event_key").to_pylist()
        for values in ([12, -3], ["12", "-3"])
    ]
    assert keys[0] == keys[1]


def test_an_event_without_its_key_is_refused():
    encoded, reasons = one("k", ["a", None], spec(key="k"))
    assert encoded.batch.column("__event_key").to_pylist() == hash_strings(pa.array(["a"])).tolist()
    assert reasons == {1: "column 'k': None: an event needs its key"}


# Rows


def test_a_row_with_two_faults_has_one_reason_and_leaves_once():
    encoded, reasons = one("x", [None, 1.0], spec([Dense("x")]))
    assert encoded.good.tolist() == [False, True]
    worse = encode(spec([Dense("x")]), raw(2, x=[None, 1.0], y=[7, 1], t=[-1, T]))
    assert worse.reasons == encoded.reasons == sorted(reasons.items())
    assert worse.batch.num_rows == 1


@given(st.lists(st.booleans(), min_size=1), st.integers(0, 3), st.integers(0, 3))
def test_a_slice_is_encoded_as_the_whole_is(good, before, after):
    rows = len(good)
    batch = raw(
        rows + before + after,
        x=[*["-"] * before, *("1" if g else "?" for g in good), *["-"] * after],
        c=[["a"] * (i % 3) for i in range(rows + before + after)],
    )
    encoded = encode(spec([Dense("x")], multi=True), batch.slice(before, rows))
    assert encoded.good.tolist() == good
    assert [row for row, _ in encoded.reasons] == [i for i, g in enumerate(good) if not g]
    lengths = [len(bag) for bag in encoded.batch.column("c").to_pylist()]
    assert lengths == [(i + before) % 3 for i, g in enumerate(good) if g]
