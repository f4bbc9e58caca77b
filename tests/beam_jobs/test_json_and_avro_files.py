from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from clicks import SPEC, clicks, letters, options, random_times, windows, write
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.json_columns import json_columns
from beam_jobs.replay import replay
from stream_prune.encoding import encode
from stream_prune.errors import RunError
from stream_prune.features import FeatureSpec

AVRO = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "time", "type": "long"},
        {"name": "click", "type": ["null", "int"]},
        {"name": "price", "type": "double"},
        {"name": "user", "type": "string"},
        {"name": "item", "type": ["null", "long"]},
    ],
}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    labels = [None if i % 17 == 0 else i % 2 for i in range(400)]
    return clicks(random_times(400, 3), click=labels)


def write_avro(path: Path, events: list[dict[str, Any]], **more: Any) -> str:
    with path.open("wb") as file:
        fastavro.writer(file, more.pop("schema", AVRO), events, sync_interval=2_000, **more)
    return str(path)


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard"])
def test_avro_parquet_and_json_of_the_same_events_give_the_same_log(
    tmp_path: Path, table: pa.Table, codec: str
) -> None:
    files = {"parquet": write(tmp_path / "in", table)}
    files["avro"] = (write_avro(tmp_path / "a.avro", table.to_pylist(), codec=codec),)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(e) + "\n" for e in table.to_pylist()))
    files["jsonl"] = (str(tmp_path / "a.jsonl"),)
    for name, paths in files.items():
        done = replay(options(paths, tmp_path / name, epoch_rows=200, out_of_orderness_ms=200))
        assert done.good == 400
    assert windows(tmp_path / "avro") == windows(tmp_path / "parquet")
    assert windows(tmp_path / "jsonl") == windows(tmp_path / "parquet")


def test_an_avro_file_with_a_nested_field_is_read_too(tmp_path: Path, table: pa.Table) -> None:
    point = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}
    schema = AVRO | {"fields": [{"name": "at", "type": ["null", point]}, *AVRO["fields"]]}
    events = [{"at": {"x": 1}} | event for event in table.to_pylist()]
    files = (write_avro(tmp_path / "a.avro", events, schema=schema),)
    replay(options(files, tmp_path / "nested", out_of_orderness_ms=200))
    replay(options(write(tmp_path / "in", table), tmp_path / "plain", out_of_orderness_ms=200))
    assert windows(tmp_path / "nested") == windows(tmp_path / "plain")


def test_a_damaged_avro_file_is_named_with_the_rows(tmp_path: Path, table: pa.Table) -> None:
    path = Path(write_avro(tmp_path / "a.avro", table.to_pylist()))
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-100])
    with pytest.raises(RunError, match=r"a\.avro: cannot be read as Avro: the block at byte"):
        replay(options((str(path),), tmp_path / "log"))
    data[3_000:3_100] = b"\xff" * 100
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"a\.avro: damaged in the block of rows \d+ to \d+"):
        replay(options((str(path),), tmp_path / "log"))
    path.write_bytes(b"nonsense")
    with pytest.raises(RunError, match=r"a\.avro: cannot be read as Avro \(empty, cut short"):
        replay(options((str(path),), tmp_path / "log"))


def test_a_line_that_is_no_json_event_is_a_dead_letter_of_its_own(
    tmp_path: Path, table: pa.Table
) -> None:
    lines = [json.dumps(event) for event in table.to_pylist()]
    lines[3], lines[7], lines[9] = "{", "[1]", lines[9] + lines[10]
    lines[11] = lines[11].replace('"u4"', '{"deep": 1}')
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    files = (str(tmp_path / "a.jsonl"),)
    for chunk in (4, 64):
        given = options(files, tmp_path / f"{chunk}", chunk_rows=chunk, max_bad_share=0.1)
        done = replay(given)
        assert (done.rows, done.undecodable) == (400, 4)
        found = [(x["row"], x["reason"]) for x in letters(tmp_path / f"{chunk}")]
        found = [(row, reason) for row, reason in found if "window" not in reason]
        assert [row for row, _ in found] == [4, 8, 10, 12]
        assert "is no JSON event" in found[0][1]
        assert found[3][1].startswith("column 'user': {'deep': 1}: a category is text")


VALUE = st.sampled_from([None, 1, 0, "7", "x", 2.5, "2.5", True, 2**70, 10**12, "2020-01-01", -3])


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(SPEC.columns, VALUE)), max_size=5))
def test_what_an_event_means_does_not_depend_on_its_neighbours(events) -> None:
    def meaning(several: list[Any]) -> list[Any]:
        columns, bad = json_columns(SPEC, [json.dumps(event).encode() for event in several])
        encoded = encode(SPEC, pa.RecordBatch.from_pydict(columns))
        good = iter(encoded.batch.to_pylist())
        kept = [next(good) if fine else None for fine in encoded.good]
        return [None if row in bad else value for row, value in enumerate(kept)]

    assert meaning(events) == [meaning([event])[0] for event in events]


def test_lists_of_categories_are_read_from_json() -> None:
    values = {**SPEC.to_dict(), "categorical": [{"name": "tags", "multi": True}]}
    spec = FeatureSpec.from_dict(values)
    texts = [b'{"tags": ["a", 1]}', b"{}", b'{"tags": "a"}', b'{"tags": [{}, "b"]}', None]
    columns, bad = json_columns(spec, texts)
    assert columns["tags"].to_pylist()[:2] == [["a", "1"], []]
    assert list(bad) == [2, 3, 4]
    assert bad[2] == "column 'tags': 'a': must be a list of categories"


def test_of_events_with_one_key_a_window_keeps_the_first(tmp_path: Path) -> None:
    times = [5, 6, 7, 8, 150, 9, 260]
    table = clicks(times, key=["a", "b", "a", "a", "a", None, "z"])
    other = clicks([7, 300], key=["b", "y"])
    spec = FeatureSpec.from_dict({**SPEC.to_dict(), "event_key": "key"})
    files = write(tmp_path / "in", table, other)
    given = options(files, tmp_path / "log", max_bad_share=1.0, out_of_orderness_ms=200)
    done = replay(type(given)(**{**vars(given), "spec": spec}))
    assert (done.good, done.duplicates, done.invalid, done.late) == (5, 3, 1, 0)
    found = {(x["partition"], x["offset"]): x["kind"] for x in letters(tmp_path / "log")}
    assert found == {(0, 2): "duplicates", (0, 3): "duplicates", (0, 5): "invalid",
                     (1, 0): "duplicates"}  # fmt: skip
