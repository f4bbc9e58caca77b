from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from log_builder import SPEC

from stream_prune.encoding import encode
from stream_prune.features import Categorical, Dense, FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch, schema

NAME = BatchName(2000, 0, 0)
SINGLE = FeatureSpec((Dense("x"), Dense("z")), (Categorical("a"), Categorical("b")), "y", "t", "k")


def arrow(the_spec, count, bags=None):
    """``count`` rows; row i of feature f has the ids 100 * f + i, or ``bags[i]`` if multi."""
    values = {}
    for number, dense in enumerate(the_spec.dense):
        values[dense.name] = pa.array(np.arange(count, dtype=np.float32) + 10 * number)
    for number, column in enumerate(the_spec.categorical):
        single = pa.array(np.arange(count) + 100 * number)
        values[column.name] = pa.array(bags, pa.list_(pa.int64())) if column.multi else single
    values["__event_time"] = pa.array(np.arange(count))
    values["__label"] = pa.array([None if i % 3 else 1.0 for i in range(count)], pa.float32())
    if the_spec.event_key is not None:
        values["__event_key"] = pa.array(np.arange(count))
    values["__partition"] = pa.array(np.zeros(count, np.int32))
    values["__offset"] = pa.array(np.arange(count))
    return pa.RecordBatch.from_pydict(values, schema=schema(the_spec))


def equal(a, b):
    fields = ("event_time", "dense", "ids", "offsets", "label")
    return all(np.array_equal(getattr(a, f), getattr(b, f), equal_nan=f == "label") for f in fields)


def test_the_log_holds_the_encoded_columns_then_partition_and_offset():
    raw = {"x": [1], "z": [1], "a": [1], "b": ["b"], "y": [1], "t": [1], "k": ["k"]}
    encoded = encode(SINGLE, pa.RecordBatch.from_pydict(raw)).batch.schema
    extra = [pa.field("__partition", pa.int32()), pa.field("__offset", pa.int64())]
    assert schema(SINGLE) == pa.schema([*encoded, *extra])


def test_ids_lie_feature_by_feature():
    batch = MiniBatch.from_arrow(SINGLE, NAME, arrow(SINGLE, 3))
    assert batch.ids.tolist() == [0, 1, 2, 100, 101, 102]
    assert batch.offsets is None
    assert batch.dense.tolist() == [[0, 10], [1, 11], [2, 12]]
    assert batch.dense.dtype == batch.label.dtype == np.float32
    assert batch.rows == 3
    assert batch.labelled.tolist() == [True, False, False]


def test_bags_lie_feature_by_feature_and_may_be_empty():
    batch = MiniBatch.from_arrow(SPEC, NAME, arrow(SPEC, 3, [[5, 6], [], [7]]))
    assert batch.ids.tolist() == [0, 1, 2, 5, 6, 7]
    assert batch.offsets.tolist() == [0, 1, 2, 3, 5, 5, 6]


def test_the_arrays_can_be_written_to():
    batch = MiniBatch.from_arrow(SINGLE, NAME, arrow(SINGLE, 3))
    arrays = (batch.event_time, batch.dense, batch.ids, batch.label)
    assert all(array.flags.writeable for array in arrays)


def test_a_specification_without_dense_columns_has_none():
    the_spec = replace(SPEC, dense=())
    assert MiniBatch.from_arrow(the_spec, NAME, arrow(the_spec, 2, [[1], [2]])).dense.shape == (
        2,
        0,
    )


rows_of_bags = st.lists(
    st.tuples(st.lists(st.integers(0, 9), max_size=3), st.booleans()), min_size=1, max_size=12
)


@given(rows_of_bags, st.sampled_from([SPEC, SINGLE]))
def test_taking_rows_after_and_before_the_conversion_is_the_same(chosen, the_spec):
    whole = arrow(the_spec, len(chosen), [bag for bag, _ in chosen])
    mask = np.array([keep for _, keep in chosen])
    taken = MiniBatch.from_arrow(the_spec, NAME, whole).take(mask)
    again = MiniBatch.from_arrow(the_spec, NAME, whole.filter(pa.array(mask)))
    assert equal(taken, again)


@given(rows_of_bags, st.integers(0, 5))
def test_a_slice_has_the_rows_of_the_slice(chosen, start):
    whole = arrow(SPEC, len(chosen), [bag for bag, _ in chosen])
    copy = pa.RecordBatch.from_pylist(whole.slice(start).to_pylist(), schema=whole.schema)
    sliced = MiniBatch.from_arrow(SPEC, NAME, whole.slice(start))
    assert equal(sliced, MiniBatch.from_arrow(SPEC, NAME, copy))
