from __future__ import annotations

import io

import fastavro
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.avro_schema import avro_schema
from beam_jobs.produce.avro import arrow_type, encode
from stream_prune.features import FeatureSpec

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "clicked",
        "event_key": "id",
        "dense": ["price", "age"],
        "categorical": [
            "item",
            {"name": "hour", "type": "integer"},
            {"name": "tags", "multi": True},
            {"name": "shops", "multi": True, "type": "integer"},
        ],
    }
)
LONG = st.integers(-(2**63), 2**63 - 1)
EVENT = st.fixed_dictionaries(
    {
        "price": st.none() | st.floats(allow_nan=False),
        "age": st.none() | st.floats(allow_nan=False),
        "item": st.none() | st.text(),
        "hour": st.none() | LONG,
        "tags": st.none() | st.lists(st.text(), max_size=4),
        "shops": st.none() | st.lists(LONG, max_size=4),
        "clicked": st.none() | st.sampled_from([0, 1]),
        "time": st.integers(0, 2**41),
        "id": st.text(min_size=1),
    }
)


def columns(schema: dict, events: list[dict]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            field["name"]: pa.array([e[field["name"]] for e in events], arrow_type(field["type"]))
            for field in schema["fields"]
        }
    )


@settings(max_examples=60)
@given(st.lists(EVENT, min_size=1, max_size=8), st.sampled_from([b"", b"\0\0\0\0\7"]))
def test_messages_are_byte_for_byte_those_of_fastavro(events: list[dict], prefix: bytes) -> None:
    schema = avro_schema(SPEC)
    plain = {**schema, "fields": [dict(f) for f in schema["fields"]]}
    for field in plain["fields"]:
        if field["name"] == "time":
            field["type"] = "long"  # fastavro wants a datetime where a logical type is named
    wanted = []
    for event in events:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, fastavro.parse_schema(plain), event)
        wanted.append(prefix + buffer.getvalue())
    batch = columns(schema, events)
    assert list(encode(schema, batch, prefix)) == wanted
    # A slice has its values at an offset in the same memory.
    assert list(encode(schema, batch.slice(len(events) // 2), prefix)) == wanted[len(events) // 2 :]


def test_a_column_that_avro_cannot_name_is_told() -> None:
    import pytest

    from stream_prune.errors import ConfigError

    spec = FeatureSpec.from_dict({"event_time": "t", "label": "y", "categorical": ["item id"]})
    with pytest.raises(ConfigError, match="column 'item id': an Avro name has ASCII letters"):
        avro_schema(spec)
