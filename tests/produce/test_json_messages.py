from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.produce.json_lines import encode

EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            'a "name"': st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "n": st.none() | st.integers(-(2**63), 2**63 - 1),
            "text": st.none() | st.text(),
            "flag": st.none() | st.booleans(),
            "list": st.none() | st.lists(st.text(), max_size=3),
        }
    ),
    min_size=1,
    max_size=6,
)
TYPES = {
    'a "name"': pa.float64(),
    "n": pa.int64(),
    "text": pa.string(),
    "flag": pa.bool_(),
    "list": pa.list_(pa.string()),
}


@given(EVENTS)
def test_messages_say_what_the_rows_hold(events: list[dict]) -> None:
    arrays = {
        name: pa.array([event[name] for event in events], kind) for name, kind in TYPES.items()
    }
    batch = pa.RecordBatch.from_pydict(arrays)
    assert [json.loads(message) for message in encode(batch)] == events


def test_times_are_milliseconds_and_no_number_is_null() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "t": pa.array([1_500_000], pa.timestamp("us", tz="UTC")),
            "x": [float("nan")],
            "code": pa.array(["a"]).dictionary_encode(),
        }
    )
    assert [json.loads(m) for m in encode(batch)] == [{"t": 1500, "x": None, "code": "a"}]
