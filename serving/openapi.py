"""The OpenAPI document: what the scoring routes take and give, with an example that works.

FastAPI describes the other routes by itself.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa
from fastapi import FastAPI

from serving import tensors
from serving.config import ServingConfig
from serving.errors import JSON, ErrorObject
from serving.invocations import CSV, Invocation, Predictions
from serving.model_slot import ModelSlot
from serving.protocol import BINARY, BINARY_HEADER, InferRequest, InferResponse
from stream_prune.artifact import Scorer

INFER = "/v2/models/{name}/infer"
INFER_VERSION = "/v2/models/{name}/versions/{version}/infer"
INVOCATIONS = "/invocations"
PAGE_FILES = "/docs/files"

_PLACE = "#/components/schemas/{name}"
_SCHEMA = {"$ref": _PLACE.format(name="ErrorObject")}
_REASONS = {
    400: "The request can't be scored.",
    401: "The key is missing or unknown.",
    403: "This server does not allow that to anybody.",
    404: "There is no model or no version of that name.",
    408: "The body did not come in time.",
    409: "It could not be done, and what was served before goes on.",
    413: "There are too many bytes or rows.",
    415: "The content type is none of those that are understood.",
    429: "Too many requests are under way; the header Retry-After says when to come again.",
    503: "No model is loaded yet.",
    504: "There was no score in time.",
}
_ROWS = 2


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """What an operation may answer instead: all of them v2 error objects."""
    content = {JSON: {"schema": _SCHEMA}}
    return {code: {"description": _REASONS[code], "content": content} for code in codes}


def describe(app: FastAPI, slot: ModelSlot, config: ServingConfig) -> None:
    """Add the scoring routes to what FastAPI says of ``app``, for the model in ``slot``."""
    generated = app.openapi

    def document() -> dict[str, Any]:
        app.openapi_schema = None  # the example is the live model's
        found = generated()
        _, schemas = msgspec.json.schema_components(
            [InferRequest, InferResponse, Invocation, Predictions, ErrorObject],
            ref_template=_PLACE,
        )
        _limit_dimensions(schemas)
        known = found.setdefault("components", {}).setdefault("schemas", {})
        known.update(schemas)
        scorer = None if slot.live is None else slot.live.scorer
        found["paths"] |= _paths(scorer)
        _name_model(found["paths"], slot)
        if config.access.key_env is not None:
            bearer = {"type": "http", "scheme": "bearer"}
            found["components"]["securitySchemes"] = {"key": bearer}
            found["security"] = [{"key": []}]
        return found

    app.openapi = document  # type: ignore[method-assign]


def _paths(scorer: Scorer | None) -> dict[str, Any]:
    wanted = infer_example(scorer) if scorer is not None else {"inputs": []}
    frame = frame_example(scorer) if scorer is not None else {"columns": [], "data": []}
    infer = _operation(
        "Score a batch of rows: one probability a row, all by the version that is named.",
        "model",
        {
            JSON: {"schema": {"$ref": _PLACE.format(name="InferRequest")}, "example": wanted},
        },
        "InferResponse",
    )
    infer["description"] = (
        "Every input column of the model is one tensor of shape [rows], of a multi-valued column "
        "[rows, most ids a row], where null fills up. With the header "
        f"`{BINARY_HEADER}` tensors may follow the JSON as bytes (content type `{BINARY}`)."
    )
    invoke = _operation(
        "Score the rows of a pandas frame, as MLflow's servers do.",
        "MLflow",
        {
            JSON: {
                "schema": {"$ref": _PLACE.format(name="Invocation")},
                "example": {"dataframe_split": frame},
            },
            CSV: {"schema": {"type": "string"}},
        },
        "Predictions",
    )
    name_parameter = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        INFER: {"post": {**infer, "operationId": "infer", "parameters": [name_parameter]}},
        INFER_VERSION: {
            "post": {
                **infer,
                "operationId": "infer_version",
                "parameters": [name_parameter, version],
            }
        },
        INVOCATIONS: {"post": {**invoke, "operationId": "invocations"}},
    }


def _operation(summary: str, tag: str, content: dict[str, Any], answer: str) -> dict[str, Any]:
    codes = (400, 401, 404, 408, 413, 415, 429, 503, 504)
    good = {
        "description": "The scores; the headers name model and version.",
        "headers": {
            header: {"schema": {"type": "string"}} for header in ("x-model-name", "x-model-version")
        },
        "content": {JSON: {"schema": {"$ref": _PLACE.format(name=answer)}}},
    }
    return {
        "summary": summary,
        "tags": [tag],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": good, **{str(code): told for code, told in errors(*codes).items()}},
    }


def _limit_dimensions(schemas: dict[str, Any]) -> None:
    """What the types do not say: sizes are no negative numbers, datatypes have names."""
    tensor = schemas["Tensor"]["properties"]
    tensor["shape"] |= {"items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
    tensor["datatype"] |= {"enum": list(tensors.DATATYPES)}


def _name_model(paths: dict[str, Any], slot: ModelSlot) -> None:
    """There is one model, and few versions: the page fills them in."""
    for methods in paths.values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                known = {"name": [slot.name], "version": slot.versions}.get(parameter["name"])
                if known and parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "enum": known}
                    parameter["example"] = known[0]


def infer_example(scorer: Scorer, rows: int = _ROWS) -> dict[str, Any]:
    """A request of the v2 protocol that the model answers: the first rows of its example."""
    table = scorer.example()[0].slice(0, rows)
    inputs = []
    for field in table.schema:
        values, shape = table.column(field.name).to_pylist(), [table.num_rows]
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            width = max(len(bag or ()) for bag in values)
            shape = [table.num_rows, width]
            values = [v for bag in values for v in [*(bag or ()), *[None] * width][:width]]
        kind = field.type if len(shape) == 1 else field.type.value_type
        named = {"name": field.name, "shape": shape, "datatype": _datatype(kind)}
        inputs.append({**named, "data": [_plain(value) for value in values]})
    return {"inputs": inputs}


def frame_example(scorer: Scorer, rows: int = _ROWS) -> dict[str, Any]:
    """The same rows as MLflow's ``dataframe_split``."""
    table = scorer.example()[0].slice(0, rows)
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    data = [list(row) for row in zip(*columns, strict=True)]
    return {"columns": table.column_names, "data": data}


def _datatype(kind: pa.DataType) -> str:
    """The protocol's name of an Arrow type."""
    if pa.types.is_boolean(kind):
        return "BOOL"
    if pa.types.is_integer(kind):
        return "UINT64" if str(kind) == "uint64" else "INT64"
    return "FP64" if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else "BYTES"


def _plain(value: Any) -> Any:
    """A value of an example as JSON has it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if value == value and abs(value) < float("inf") else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
