"""The Open Inference Protocol v2 as this server speaks it: the only place that knows its JSON.

Every input column of the model is one input tensor: shape [B] or [B, 1]; of a multi-valued column
[B, K], where null fills up rows with fewer than K ids. Elsewhere null means a missing value.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from stream_prune.artifact import ModelCard, ScoreError
from stream_prune.features import INTEGER, Categorical, Dense, FeatureSpec

_INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
_FLOATS = ("FP32", "FP64")
_DENSE_TYPES = (*_FLOATS, *_INTEGERS, "BOOL")
_ID_TYPES = ("BYTES", *_INTEGERS, "BOOL")

PLATFORM = "stream_prune"
OUTPUT = "score"


class Tensor(BaseModel):
    """One input column: ``data`` in row-major order, flat or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class RequestedOutput(BaseModel):
    """An output that the client asks for; there is one, ``score``."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """A batch of rows to score."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [
                        {
                            "name": "carrier",
                            "shape": [2],
                            "datatype": "BYTES",
                            "data": ["UA", "B6"],
                        },
                        {"name": "distance", "shape": [2], "datatype": "FP32", "data": [1400, 229]},
                    ]
                }
            ]
        }
    )

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(BaseModel):
    """Probabilities, one a row."""

    name: str = OUTPUT
    shape: list[int]
    datatype: str = "FP32"
    data: list[float]


class InferResponse(BaseModel):
    """The scores of a request, all by the model version that it names."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class ErrorResponse(BaseModel):
    """What went wrong; ``field`` and ``row`` say where, ``reason`` what is wrong with it."""

    error: str
    field: str | None = None
    row: int | None = None
    reason: str | None = None


class RequestError(Exception):
    """A request that the protocol refuses: ``field`` is the tensor or the JSON path."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        self.reason, self.field = reason, field
        super().__init__(reason if field is None else f"{field}: {reason}")


def columns_of(request: InferRequest, spec: FeatureSpec) -> dict[str, list[Any]]:
    """The raw columns of a request, by name, ready for the scorer.

    Raises:
        RequestError: names the tensor and what is wrong with it.
    """
    for wanted in request.outputs or ():
        if wanted.name != OUTPUT:
            raise RequestError(f"is no output of this model: there is {OUTPUT!r}", wanted.name)
    known: dict[str, Dense | Categorical] = {c.name: c for c in spec.dense}
    known.update({c.name: c for c in spec.categorical})
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        column = known.get(tensor.name)
        if column is None:
            raise RequestError(
                f"is no input of this model: they are {', '.join(known)}", tensor.name
            )
        if tensor.name in columns:
            raise RequestError("is there twice", tensor.name)
        columns[tensor.name] = _column(tensor, column)
    for name in known:
        if name not in columns:
            raise RequestError("is missing from the inputs", name)
    return columns


def _column(tensor: Tensor, column: Dense | Categorical) -> list[Any]:
    allowed = _DENSE_TYPES if isinstance(column, Dense) else _ID_TYPES
    if tensor.datatype not in allowed:
        raise RequestError(
            f"datatype {tensor.datatype!r}: must be one of {', '.join(allowed)}", tensor.name
        )
    multi = isinstance(column, Categorical) and column.multi
    shape = tensor.shape
    fits = len(shape) == 2 if multi else len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not fits or min(shape) < 0:
        wanted = "[rows, most ids a row]" if multi else "[rows] or [rows, 1]"
        raise RequestError(f"shape {shape}: must be {wanted}", tensor.name)
    if shape[0] == 0:
        raise RequestError(f"shape {shape}: there are no rows to score", tensor.name)
    data = _flat(tensor)
    if len(data) != math.prod(shape):
        raise RequestError(
            f"holds {len(data)} values, shape {shape} says {math.prod(shape)}", tensor.name
        )
    for at, value in enumerate(data):
        if value is not None and not _is_a(value, tensor.datatype):
            raise RequestError(f"data[{at}] = {value!r:.80}: is no {tensor.datatype}", tensor.name)
    if tensor.datatype in _FLOATS:  # JSON writes 3.0 as 3; Arrow is strict about mixing them
        data = [None if value is None else float(value) for value in data]
    if not multi:
        return data
    width = shape[1]
    rows = (data[row * width : (row + 1) * width] for row in range(shape[0]))
    return [[value for value in row if value is not None] for row in rows]


def _flat(tensor: Tensor) -> list[Any]:
    """The data in row-major order; nested data must be nested as the shape says."""
    if not any(isinstance(value, list) for value in tensor.data):
        return tensor.data
    if len(tensor.shape) != 2:
        raise RequestError(f"data is nested, shape {tensor.shape} is not", tensor.name)
    for at, row in enumerate(tensor.data):
        if not isinstance(row, list) or len(row) != tensor.shape[1]:
            raise RequestError(
                f"data[{at}]: must be a list of {tensor.shape[1]} values", tensor.name
            )
    return [value for row in tensor.data for value in row]


def _is_a(value: Any, datatype: str) -> bool:
    if datatype in _FLOATS:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if datatype == "BYTES":
        return type(value) is str
    if datatype == "BOOL":
        return type(value) is bool
    bits = int(datatype.lstrip("UINT"))
    low, high = (0, 2**bits) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return type(value) is int and low <= value < high


def response(
    name: str, version: str, request_id: str | None, scores: npt.NDArray[np.float32]
) -> InferResponse:
    """The answer to a request: ``scores`` [B] as one FP32 tensor."""
    tensor = OutputTensor(shape=[len(scores)], data=scores.tolist())
    return InferResponse(model_name=name, model_version=version, id=request_id, outputs=[tensor])


def metadata(name: str, version: str, card: ModelCard) -> dict[str, Any]:
    """The model's metadata: its input tensors and its output."""
    inputs: list[dict[str, Any]] = [
        {"name": column.name, "datatype": "FP64", "shape": [-1]} for column in card.spec.dense
    ]
    for column in card.spec.categorical:
        shape = [-1, -1] if column.multi else [-1]
        datatype = "INT64" if column.type == INTEGER else "BYTES"
        inputs.append({"name": column.name, "datatype": datatype, "shape": shape})
    return {
        "name": name,
        "versions": [version],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1]}],
    }


def score_error(error: ScoreError) -> ErrorResponse:
    """A row or column that the scorer refuses."""
    return ErrorResponse(error=str(error), field=error.column, row=error.row, reason=error.reason)


def bad_request(error: RequestError) -> ErrorResponse:
    """A tensor that the protocol refuses."""
    return ErrorResponse(error=str(error), field=error.field, reason=error.reason)


def malformed(problems: Sequence[Any]) -> ErrorResponse:
    """A body that is no request: pydantic's first problem, in words."""
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    return wrong(field, first["msg"])


def wrong(field: str, reason: str) -> ErrorResponse:
    """A part of the request that is not as it must be."""
    return ErrorResponse(error=f"{field}: {reason}", field=field, reason=reason)
