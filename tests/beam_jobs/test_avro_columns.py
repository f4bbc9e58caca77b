from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from clicks import SPEC
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs import avro_schemas
from beam_jobs.avro_columns import read_columns
from beam_jobs.avro_format import AvroFormat
from beam_jobs.avro_messages import avro_columns
from beam_jobs.avro_program import NestedError, program_of
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec

LONG = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("long", LONG),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("string", TEXT),
    ("boolean", st.booleans()),
    ("double", st.floats(allow_nan=False)),
    ("float", st.floats(width=32, allow_nan=False)),
    ("null", st.none()),
    (["null", "long"], st.none() | LONG),
    (["string", "null"], st.none() | TEXT),
    (["null", "double"], st.none() | st.floats(allow_nan=False)),
    ({"type": "array", "items": "string"}, st.lists(TEXT, max_size=4)),
    ({"type": "array", "items": "long"}, st.lists(LONG, max_size=4)),
    (["null", {"type": "array", "items": "int"}], st.none() | st.lists(st.just(3), max_size=3)),
    ({"type": "map", "values": "long"}, st.dictionaries(TEXT, LONG, max_size=3)),
    ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, st.sampled_from("ab")),
    ({"type": "fixed", "name": "F", "size": 3}, st.binary(min_size=3, max_size=3)),
    (
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}]},
        st.fixed_dictionaries({"x": LONG}),
    ),
]
SKIPPED = ("map", "fixed", "record")


@st.composite
def records(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]]]:
    """A schema of a few fields, and records of it."""
    chosen = draw(
        st.lists(
            st.integers(0, len(TYPES) - 1),
            min_size=1,
            max_size=5,
            unique_by=lambda i: i if isinstance(TYPES[i][0], dict) else object(),
        )
    )
    fields = [{"name": f"f{n}", "type": TYPES[i][0]} for n, i in enumerate(chosen)]
    schema = fastavro.parse_schema({"type": "record", "name": "Event", "fields": fields})
    values = st.fixed_dictionaries({f"f{n}": TYPES[i][1] for n, i in enumerate(chosen)})
    return schema, draw(st.lists(values, max_size=6))


def packed(messages: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = np.cumsum([len(m) for m in messages], dtype=np.int64)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64)[: len(messages)]
    return np.frombuffer(b"".join(messages), np.uint8), starts, ends


def written(schema: Any, record: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def wanted(schema: Any) -> list[str]:
    def kind(type_: Any) -> str:
        return type_["type"] if isinstance(type_, dict) else ""

    return [f["name"] for f in schema["fields"] if kind(f["type"]) not in SKIPPED]


@settings(max_examples=60)
@given(records(), st.booleans())
def test_columns_hold_what_fastavro_reads(made, chained) -> None:
    schema, values = made
    names = wanted(schema)
    data, starts, ends = packed([written(schema, value) for value in values])
    if chained and len(ends):
        ends = np.full(len(ends), len(data))
    found = read_columns(program_of(schema, names), data, starts, ends, chained=chained)
    assert not found.bad
    for name in names:
        assert found.columns[name].to_pylist() == [value[name] for value in values]


@settings(max_examples=60)
@given(records().filter(lambda made: len(made[1]) > 0), st.data())
def test_a_damaged_record_harms_no_other(made, data) -> None:
    schema, values = made
    names = wanted(schema)
    messages = [written(schema, value) for value in values]
    place = data.draw(st.integers(0, len(messages)))
    damaged = data.draw(st.binary(max_size=12)) if len(messages) else b""
    messages.insert(place, damaged)
    found = read_columns(program_of(schema, names), *packed(messages))
    assert set(found.bad) <= {place}
    for name in names:
        column = found.columns[name].to_pylist()
        del column[place]
        assert column == [value[name] for value in values]
    if "map" not in json.dumps(schema):  # of what is passed over the text is not looked at
        assert readable(schema, damaged) or place in found.bad


def readable(schema: Any, message: bytes) -> bool:
    """Whether fastavro reads all of it."""
    whole = io.BytesIO(message)
    try:
        fastavro.schemaless_reader(whole, schema)
    except Exception:  # noqa: BLE001 - it raises whatever the bytes provoke
        return False
    return whole.tell() == len(message)


EVENT = [
    {"name": "time", "type": "long"},
    {"name": "click", "type": "int"},
    {"name": "price", "type": "double"},
    {"name": "user", "type": "string"},
    {"name": "item", "type": "long"},
]
EVENTS = [{"time": i, "click": i % 2, "price": i / 2, "user": f"u{i}", "item": i} for i in range(6)]


def schema_in(folder: Path, fields: list[dict[str, Any]], name: str = "a.avsc") -> Path:
    (folder / name).write_text(json.dumps({"type": "record", "name": "C", "fields": fields}))
    return folder / name


def messages(fields: list[dict[str, Any]], events: list[dict[str, Any]], head: bytes = b"") -> Any:
    schema = fastavro.parse_schema({"type": "record", "name": "C", "fields": fields})
    return pa.array([head + written(schema, event) for event in events], pa.large_binary())


def head(number: int) -> bytes:
    return b"\0" + number.to_bytes(4, "big")


def rows(columns: dict[str, pa.Array]) -> list[dict[str, Any]]:
    return pa.RecordBatch.from_pydict(columns).select(list(SPEC.columns)).to_pylist()


def test_schemas_evolve_by_defaults_aliases_and_wider_numbers(tmp_path: Path) -> None:
    old = [
        {"name": "time", "type": "long"},
        {"name": "click", "type": "int"},
        {"name": "price", "type": "int"},
        {"name": "who", "type": "string"},
    ]
    new = [*EVENT, {"name": "extra", "type": {"type": "map", "values": "string"}}]
    reader = [dict(field) for field in EVENT]
    reader[3] |= {"aliases": ["who"]}
    reader[4] |= {"default": 99}
    form = AvroFormat(
        schema=schema_in(tmp_path, reader),
        framing="confluent",
        ids={1: schema_in(tmp_path, old, "1.avsc"), 2: schema_in(tmp_path, new, "2.avsc")},
    )
    early = [{"time": 5, "click": 1, "price": 3, "who": "a"}]
    late = [EVENTS[1] | {"extra": {"k": "v"}}]
    parts = [messages(new, late, head(2)), messages(old, early, head(1))]
    wrong = pa.array([b"", b"\0\0\0\0\x09abc", b"\x01abcdefg"], pa.large_binary())
    values = pa.concat_arrays([parts[0], wrong, parts[1]])
    columns, bad = avro_columns(SPEC, form, values)
    found = rows(columns)
    assert found[0] == EVENTS[1]
    assert found[4] == {"time": 5, "click": 1, "price": 3.0, "user": "a", "item": 99}
    assert list(bad) == [1, 2, 3]
    assert bad[2] == "there is no schema with the id 9"
    assert "does not begin with a zero byte" in bad[3]


def test_a_writer_without_a_needed_field_makes_dead_letters(tmp_path: Path) -> None:
    short = [field for field in EVENT if field["name"] != "price"]
    form = AvroFormat(
        framing="confluent",
        ids={1: schema_in(tmp_path, EVENT), 2: schema_in(tmp_path, short, "2.avsc")},
    )
    values = [messages(EVENT, EVENTS, head(1)), messages(short, [EVENTS[0]], head(2))]
    columns, bad = avro_columns(SPEC, form, pa.concat_arrays(values))
    assert rows(columns)[:6] == EVENTS
    assert list(bad) == [6]
    assert "schema 2: its schema has no field 'price'" in bad[6]


def test_nested_types_are_left_to_fastavro(tmp_path: Path) -> None:
    point = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}
    fields = [{"name": "at", "type": ["null", point]}, *EVENT]
    with pytest.raises(NestedError):
        program_of(fastavro.parse_schema({"type": "record", "name": "C", "fields": fields}), [])
    form = AvroFormat(schema=schema_in(tmp_path, fields))
    events = [{"at": {"x": i}} | event for i, event in enumerate(EVENTS)]
    values = messages(fields, events).to_pylist()
    values[2] = values[2][:-1]
    values[4] += b"x"
    columns, bad = avro_columns(SPEC, form, pa.array(values, pa.large_binary()))
    assert list(bad) == [2, 4]
    good = [event for i, event in enumerate(rows(columns)) if i not in bad]
    assert good == [event for i, event in enumerate(EVENTS) if i not in bad]


def test_a_schema_of_other_columns_or_types_is_told(tmp_path: Path) -> None:
    lists = [*EVENT[:-1], {"name": "item", "type": {"type": "array", "items": "long"}}]
    form = AvroFormat(schema=schema_in(tmp_path, lists))
    _, bad = avro_columns(SPEC, form, messages(lists, [EVENTS[0] | {"item": [1]}]))
    assert "column 'item' holds lists" in bad[0]
    spec = FeatureSpec.from_dict({**SPEC.to_dict(), "categorical": ["nobody"]})
    with pytest.raises(ConfigError, match=r"source\.avro\.schema: has no field 'nobody'"):
        avro_columns(spec, form, messages(lists, [EVENTS[0] | {"item": [1]}]))
    with pytest.raises(ConfigError, match=r"b\.avsc: cannot be read: No such file"):
        avro_columns(SPEC, AvroFormat(schema=tmp_path / "b.avsc"), messages(EVENT, EVENTS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"framing": "magic"}, r"source\.avro\.framing = 'magic': must be none or confluent"),
        ({"registry": "http://r"}, r"go with framing: confluent"),
        ({"framing": "confluent"}, r"name either a registry, or files by id"),
        ({"framing": "confluent", "registry": "r:1"}, r"must begin with http"),
        (
            {"framing": "confluent", "registry": "http://r", "registry_auth": "me:pw"},
            r"a secret must not stand in a file",
        ),
    ],
)
def test_formats_that_do_not_go_together_are_refused(change, message) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        AvroFormat(**change)
    assert "me:pw" not in str(error.value)


@pytest.fixture
def registry(monkeypatch):
    """A schema registry that knows the id 7; ``down`` makes it answer 503."""
    asked: list[tuple[str, str | None]] = []
    state = {"down": 0}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            schema = json.dumps({"type": "record", "name": "C", "fields": EVENT})
            found = self.path.endswith("/schemas/ids/7")
            state["down"] -= 1
            self.send_response(503 if state["down"] >= 0 else 200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"schema": schema} if found else {}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(avro_schemas, "_PAUSE_SECONDS", 0.01)
    yield f"http://127.0.0.1:{server.server_port}", asked, state
    server.shutdown()
    server.server_close()


def test_a_registry_is_asked_once_a_schema_and_waited_for_while_it_is_down(
    registry, monkeypatch
) -> None:
    address, asked, state = registry
    monkeypatch.setenv("K1_REGISTRY", "me:pw")
    form = AvroFormat(
        framing="confluent", registry=f"{address}/", registry_auth="${env:K1_REGISTRY}"
    )
    values = pa.concat_arrays([messages(EVENT, EVENTS, head(7)), messages(EVENT, EVENTS, head(8))])
    state["down"] = 2
    for _ in range(2):
        columns, bad = avro_columns(SPEC, form, values)
        assert rows(columns)[:6] == EVENTS
        assert list(bad) == list(range(6, 12))
    assert [path for path, _ in asked] == ["/schemas/ids/7"] * 3 + ["/schemas/ids/8"]
    assert asked[0][1] == "Basic bWU6cHc="
    monkeypatch.setattr(avro_schemas, "PATIENCE_SECONDS", 0.1)
    state["down"] = 10**9
    with pytest.raises(RunError, match=r"has not answered for .*nothing is lost") as error:
        avro_columns(SPEC, form, messages(EVENT, EVENTS, head(9)))
    assert "pw" not in str(error.value)
