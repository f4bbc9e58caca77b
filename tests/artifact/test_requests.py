"""What the scorer makes of a request, and what it refuses."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_prune.artifact.requests import RequestEncoder, RowEncoder, ScoreError
from stream_prune.encoding import encode
from stream_prune.features import MISSING_ID, Categorical, Dense, FeatureSpec

SPEC = FeatureSpec(
    dense=(
        Dense("plain", missing=-1.5),
        Dense("logged", transform="log1p"),
        Dense("clipped", transform="clip", low=-1.0, high=2.0, missing=0.0),
    ),
    categorical=(
        Categorical("id", type="integer"),
        Categorical("word"),
        Categorical("bag", multi=True),
        Categorical("numbers", multi=True, type="integer"),
    ),
    label="y",
    event_time="t",
)
GOOD = {"plain": [1], "logged": [3.5], "clipped": [9.0], "id": [7], "word": ["a"], "bag": [["b"]],
        "numbers": [[3]]}  # fmt: skip

numbers = st.one_of(
    st.floats(width=64), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.text("19.e-")
)
integers = st.integers(-3, 2**64)
ids = st.one_of(st.text(), integers, st.none(), st.booleans(), st.floats())
bags = st.one_of(
    st.lists(st.one_of(st.text(), st.none())), st.lists(st.one_of(integers, st.none())), st.none()
)


def encoded(request):
    try:
        inputs = RequestEncoder(SPEC)(request)
    except ScoreError as error:
        return str(error)
    bags = [None if offsets is None else offsets.tolist() for offsets in inputs.bounds]
    return inputs.dense.tobytes(), [i.tolist() for i in inputs.columns], bags


@given(numbers, numbers, numbers, ids, ids, bags, bags)
@example(1e39, 0.0, 0.0, 1, "a", [], [])
@example(None, -0.0, -0.0, MISSING_ID, "\ud800", [None], [None])
@example(None, 5e-324, 3, MISSING_ID - 1, "", [MISSING_ID], [MISSING_ID])
@example(None, 1, 3, "12", -7, [0, None], ["007"])
def test_one_row_is_encoded_as_the_same_row_among_others(
    plain, logged, clipped, one, word, bag, others
):
    values = (plain, logged, clipped, one, word, bag, others)
    row = {name: [value] for name, value in zip(SPEC.inputs, values, strict=True)}
    by_columns = {name: tuple(value) for name, value in row.items()}  # only lists go the short way
    assert RowEncoder(SPEC)(by_columns) is None
    assert encoded(row) == encoded(by_columns)


def test_a_plain_row_takes_the_short_way():
    assert RowEncoder(SPEC)(GOOD) is not None


def test_an_event_has_the_same_ids_as_text_and_as_integers_and_as_in_the_log():
    as_integers = {**GOOD, "id": [12], "word": [34], "bag": [[5, 6]], "numbers": [[7]]}
    as_text = {**GOOD, "id": ["12"], "word": ["34"], "bag": [["5", "6"]], "numbers": [["7"]]}
    expected = encoded(as_integers)
    assert RowEncoder(SPEC)(as_integers) is not None
    for request in (as_text, {k: v * 2 for k, v in as_text.items()}, pa.table(as_integers)):
        found = encoded(request)
        assert [ids[: len(wanted)] for ids, wanted in zip(found[1], expected[1], strict=True)] == (
            expected[1]
        )
    logged = encode(SPEC, pa.table(as_text).to_batches()[0], labels=False).batch
    assert [logged.column(c).to_pylist() for c in ("id", "word")] == expected[1][:2]


def test_rows_of_lists_tables_and_batches_are_the_same_request():
    columns = {name: values * 3 for name, values in GOOD.items()}
    table = pa.table(columns)
    expected = encoded(columns)
    assert encoded(table) == expected
    assert encoded(table.to_batches()[0]) == expected
    assert encoded(pa.concat_tables([table.slice(0, 1), table.slice(1)])) == expected
    assert encoded(table.slice(1)) == encoded({k: v * 2 for k, v in GOOD.items()})


def test_a_sliced_bag_column_keeps_its_rows():
    bag = pa.array([["a", "b"], [], None, ["c"]])
    table = pa.table({**{k: v * 4 for k, v in GOOD.items()}, "bag": bag})
    whole, part = RequestEncoder(SPEC)(table), RequestEncoder(SPEC)(table.slice(1))
    assert whole.offsets[2].tolist() == [0, 2, 2, 2, 3]
    assert part.offsets[2].tolist() == [0, 0, 0, 1]
    assert part.columns[2].tolist() == whole.columns[2].tolist()[2:]


@pytest.mark.parametrize(
    ("change", "column", "row", "reason"),
    [
        ({"id": None}, "id", None, "is missing"),
        ({"plain": [math.inf]}, "plain", 0, "must be a finite"),
        ({"logged": [math.nan]}, "logged", 0, "is missing"),
        ({"logged": [None]}, "logged", 0, "is missing"),
        ({"plain": ["ten"]}, "plain", 0, "is no number"),
        ({"plain": [[1.0]]}, "plain", None, "numbers are needed"),
        ({"id": [-1]}, "id", 0, "must be in [0, "),
        ({"id": ["seven"]}, "id", 0, "must be in [0, "),
        ({"id": [1.5]}, "id", None, "ids are strings or integers"),
        ({"id": [["a"]]}, "id", None, "one id a row"),
        ({"bag": ["a"]}, "bag", None, "holds one id a row"),
        ({"numbers": [[-1]]}, "numbers", 0, "must be in [0, "),
        ({"bag": [["a", 1]]}, "bag", None, "don't go together"),
        ({"word": ["a", "b"]}, "word", None, "has 2 rows"),
        ({"word": "a"}, "word", None, "must be a list"),
        ({"word": ["a", 1]}, "word", None, "don't go together"),
        ({"plain": [2**80]}, "plain", None, "int64"),
        ({"word": ["\ud800"]}, "word", None, "don't go together"),
    ],
)
def test_a_bad_value_is_named_by_column_row_and_reason(change, column, row, reason):
    request = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(ScoreError) as error:
        RequestEncoder(SPEC)(request)
    assert (error.value.column, error.value.row) == (column, row)
    assert reason in error.value.reason
    assert repr(column) in str(error.value)


def test_the_row_of_a_bad_value_is_its_place_in_the_request():
    request = {name: values * 5 for name, values in GOOD.items()}
    request["logged"] = [1.0, 2.0, 3.0, math.nan, 5.0]
    with pytest.raises(ScoreError, match="row 3, column 'logged'"):
        RequestEncoder(SPEC)(request)


def test_an_empty_request_is_refused():
    with pytest.raises(ScoreError, match="no rows"):
        RequestEncoder(SPEC)(
            {name: [] for name in SPEC.inputs} | {"bag": pa.array([], pa.list_(pa.string()))}
        )


def test_a_table_with_a_column_twice_is_refused():
    table = pa.table(GOOD)
    with pytest.raises(ScoreError, match="is there twice"):
        RequestEncoder(SPEC)(table.append_column("id", table["id"]))


def test_columns_the_model_does_not_know_are_ignored():
    assert encoded({**GOOD, "other": [object()]}) == encoded(GOOD)


def test_numpy_columns_are_taken():
    request = {**GOOD, "plain": np.array([1.0]), "id": np.array([7], np.int32)}
    assert encoded(request) == encoded(GOOD)
