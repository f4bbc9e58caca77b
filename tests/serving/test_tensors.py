"""One plain value of a tensor has a short way, which gives what the long one gives."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.tensors import DATATYPES, Tensor, check, from_json, single
from stream_prune.features import Categorical, Dense

COLUMNS = (
    Dense("x"),
    Categorical("x"),
    Categorical("x", type="integer"),
    Categorical("x", multi=True),
)
values = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([127, 128, -129, 2**63, 2**64, 10**400]),
    st.floats(),
    st.text(max_size=3),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
)


def by_the_long_way(tensor, column):
    try:
        check(tensor, column, most_rows=8)
        return from_json(tensor, column)
    except RequestError as error:
        return str(error)


@given(
    shape=st.sampled_from([[1], [1], [1, 1], [2], [0], [], [-1]]),
    datatype=st.sampled_from([*DATATYPES, "STRING"]),
    data=st.one_of(st.none(), values.map(lambda value: [value]), st.lists(values, max_size=2)),
    parameters=st.sampled_from([None, None, {}, {"null": 1}, {"null": "nan"}]),
    column=st.sampled_from(COLUMNS),
)
@example([1], "INT8", [128], None, COLUMNS[2])
@example([1], "FP64", [float("nan")], None, COLUMNS[0])
@example([1], "BYTES", ["a"], None, COLUMNS[0])
@example([1], "FP32", [1.5], None, COLUMNS[1])
@example([1], "INT64", [1], {"null": 1}, COLUMNS[2])
@example([1], "BYTES", ["a"], None, COLUMNS[3])
@example([1], "INT64", [1], None, COLUMNS[3])
def test_what_the_short_way_takes_the_long_way_gives(shape, datatype, data, parameters, column):
    tensor = Tensor("x", shape, datatype, data, parameters)
    found = single(tensor, column)
    if found is not None:
        assert found == by_the_long_way(tensor, column)
        assert len(found) == 1


@pytest.mark.parametrize(
    ("datatype", "value", "column"),
    [
        ("FP64", 1.5, COLUMNS[0]),
        ("FP32", -2.0, COLUMNS[0]),
        ("INT64", 7, COLUMNS[0]),
        ("UINT64", 2**64 - 1, COLUMNS[2]),
        ("INT8", -128, COLUMNS[2]),
        ("BYTES", "c1", COLUMNS[1]),
    ],
)
def test_the_short_way_takes_what_clients_send(datatype, value, column):
    assert single(Tensor("x", [1], datatype, [value]), column) == [value]
