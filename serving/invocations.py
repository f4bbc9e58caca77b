"""MLflow's scoring protocol (``/invocations``): its four JSON layouts and CSV, as columns.

Columns that the model does not know are ignored, as MLflow ignores them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv

from serving.errors import JSON, RequestError
from serving.protocol import Columns, Question, Reply, Scores, decode, unknown_type
from serving.tensors import too_many_rows
from stream_prune.features import FeatureSpec

CSV = "text/csv"


class Split(msgspec.Struct):
    """A pandas frame in its ``split`` layout."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class Invocation(msgspec.Struct):
    """A body of ``/invocations``: exactly one of the four layouts."""

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[dict[str, Any]] | dict[str, list[Any]] | None = None
    inputs: dict[str, list[Any]] | list[dict[str, Any]] | None = None
    params: dict[str, Any] | None = None


class Predictions(msgspec.Struct):
    """One probability a row."""

    predictions: list[float]


def question(
    body: bytes, headers: Mapping[str, str], spec: FeatureSpec, most_rows: int
) -> Question:
    """What a request to ``/invocations`` asks.

    Raises:
        RequestError: names the column or the place in the body, and what is wrong with it.
    """
    kind = headers.get("content-type")
    plain = (kind or "").partition(";")[0].strip().lower()
    if plain == CSV:
        columns = _csv(body, spec)
    elif plain.endswith("json"):
        columns = _layout(decode(body, Invocation), spec)
    else:
        raise unknown_type(kind, f"{JSON} or {CSV}")
    for name, values in columns.items():
        if len(values) > most_rows:
            raise too_many_rows(len(values), most_rows, name)
    ids = {c.name for c in spec.categorical}
    return Question({k: _whole(v) if k in ids else v for k, v in columns.items()}, _reply)


def _reply(name: str, version: str, scores: Scores) -> Reply:
    del name, version  # the headers of the answer say both
    return Reply(msgspec.json.encode(Predictions(scores.tolist())), JSON, {})


def _layout(body: Invocation, spec: FeatureSpec) -> Columns:
    layouts = ("dataframe_split", "dataframe_records", "instances", "inputs")
    given = [name for name in layouts if getattr(body, name) is not None]
    if len(given) != 1:
        raise RequestError(f"must hold exactly one of {', '.join(layouts)}", "body")
    if body.params:
        raise RequestError(f"{', '.join(body.params):.80}: this model takes none", "params")
    layout = getattr(body, given[0])
    if isinstance(layout, Split):
        return _split(layout, spec)
    if isinstance(layout, dict):
        return {name: layout[name] for name in spec.inputs if name in layout}
    there = [name for name in spec.inputs if any(name in row for row in layout)]
    return {name: [row.get(name) for row in layout] for name in there}


def _split(frame: Split, spec: FeatureSpec) -> Columns:
    width = len(frame.columns)
    for at, row in enumerate(frame.data):
        if len(row) != width:
            reason = f"has {len(row)} values, there are {width} columns"
            raise RequestError(reason, f"dataframe_split.data[{at}]", row=at)
    for name in spec.inputs:
        if frame.columns.count(name) > 1:
            raise RequestError("is there twice", name)
    where = {name: frame.columns.index(name) for name in spec.inputs if name in frame.columns}
    return {name: [row[at] for row in frame.data] for name, at in where.items()}


def _csv(body: bytes, spec: FeatureSpec) -> Columns:
    """Columns as text, which the encoder reads numbers and integer ids from; empty is missing."""
    for column in spec.categorical:
        if column.multi:
            raise RequestError(f"holds lists, which CSV has no words for: send {JSON}", column.name)
    text = dict.fromkeys(spec.inputs, pa.string())
    try:
        table = pa.csv.read_csv(
            io.BytesIO(body),
            convert_options=pa.csv.ConvertOptions(
                column_types=text, strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowException as error:
        raise RequestError(f"is no CSV with a line of names: {error!s:.200}", "body") from None
    names = table.column_names
    for name in spec.inputs:
        if names.count(name) > 1:
            raise RequestError("is there twice", name)
    return {name: table.column(name).to_pylist() for name in spec.inputs if name in names}


def _whole(values: Any) -> Any:
    """Integer ids as integers again: pandas makes them floats where one of them is missing."""
    if not set(map(type, values)) <= {int, float, type(None)} or not any(
        type(value) is float for value in values
    ):
        return values
    if any(type(value) is float and not value.is_integer() for value in values):
        return values
    return [None if value is None else int(value) for value in values]
