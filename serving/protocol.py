"""The Open Inference Protocol v2 as this server speaks it: requests to columns, scores to answers.

Tensors may come as JSON or, by the protocol's binary extension, as bytes behind it; so may scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from serving import tensors
from serving.errors import JSON, RequestError
from serving.tensors import Tensor, Values
from stream_prune.artifact import ModelCard
from stream_prune.features import INTEGER, FeatureSpec

PLATFORM = "stream_prune"
OUTPUT = "score"
EXTENSIONS = ("binary_tensor_data", "model_repository")
BINARY = "application/octet-stream"
BINARY_HEADER = "inference-header-content-length"

Columns: TypeAlias = dict[str, Values]
Scores: TypeAlias = npt.NDArray[np.float32]


class Reply(NamedTuple):
    """The body of an answer and what its headers say about it."""

    body: bytes
    media_type: str
    headers: dict[str, str]


class Question(NamedTuple):
    """Rows to score, and how their scores are to be told: ``reply(name, version, scores)``."""

    columns: Columns
    reply: Callable[[str, str, Scores], Reply]


class RequestedOutput(msgspec.Struct):
    """An output that the client asks for; there is one, ``score``."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """A batch of rows to score."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """Probabilities, one a row; without ``data`` they come as bytes behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, int] | None = None
    data: list[float] | None = None


class InferResponse(msgspec.Struct, omit_defaults=True):
    """The scores of a request, all by the model version that it names."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None


def question(
    body: bytes, headers: Mapping[str, str], spec: FeatureSpec, most_rows: int
) -> Question:
    """What a request to ``infer`` asks.

    Raises:
        RequestError: names the tensor or the place in the JSON, and what is wrong with it.
    """
    kind, binary = headers.get("content-type"), headers.get(BINARY_HEADER)
    head, tail = body, memoryview(b"")
    if binary is not None:
        if kind is not None and not (_is_json(kind) or kind.startswith(BINARY)):
            raise unknown_type(kind, f"{BINARY} or {JSON}")
        length = int(binary) if re.fullmatch(r"[0-9]{1,12}", binary) else -1
        if not 0 <= length <= len(body):
            reason = f"{binary!r:.40}: must be the number of the body's first bytes that are JSON"
            raise RequestError(reason, BINARY_HEADER)
        head, tail = body[:length], memoryview(body)[length:]
    elif not _is_json(kind):
        raise unknown_type(kind, JSON)
    request = decode(head, InferRequest)
    as_bytes = wants_bytes(request)
    asked = columns(request, tail, spec, most_rows)

    def reply(name: str, version: str, scores: Scores) -> Reply:
        return _reply(name, version, request.id, scores, as_bytes)

    return Question(asked, reply)


def unknown_type(kind: str | None, allowed: str) -> RequestError:
    """The refusal of a body that is neither JSON nor what else may come."""
    return RequestError(f"is {kind or 'none'!r:.80}: must be {allowed}", "content-type", status=415)


def _is_json(kind: str | None) -> bool:
    return kind is not None and kind.partition(";")[0].strip().lower().endswith("json")


T = TypeVar("T")


def decode(body: bytes, kind: type[T]) -> T:
    """A JSON body as a structure.

    Raises:
        RequestError: it is no JSON, or not so structured: names the place.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _explain(body, kind)


def _explain(body: bytes, kind: type[T]) -> T:
    """Once more, slower: Python's parser knows NaN, so that the tensor with it can be named."""
    try:
        return msgspec.convert(json.loads(body), kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise RequestError(reason, place.strip("`.") or "body") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestError(f"is no JSON: {reason:.200}", "body") from None


def columns(request: InferRequest, tail: memoryview, spec: FeatureSpec, most_rows: int) -> Columns:
    """The columns of a request, those of binary tensors taken from ``tail`` one after another.

    Raises:
        RequestError: names the tensor, and what is wrong with it.
    """
    known = spec.by_name
    found: Columns = {}
    for tensor in request.inputs:
        column = known.get(tensor.name)
        if column is None:
            raise RequestError(
                f"is no input of this model: they are {', '.join(known)}", f"{tensor.name:.80}"
            )
        if tensor.name in found:
            raise RequestError("is there twice", tensor.name)
        plain = tensors.single(tensor, column)
        if plain is not None:
            found[tensor.name] = plain
            continue
        tensors.check(tensor, column, most_rows)
        size = _binary_size(tensor)
        if size is None:
            found[tensor.name] = tensors.from_json(tensor, column)
            continue
        if size > len(tail):
            reason = f"binary_data_size = {size}: only {len(tail)} bytes are left in the body"
            raise RequestError(reason, tensor.name)
        found[tensor.name] = tensors.from_bytes(tensor, column, tail[:size])
        tail = tail[size:]
    if len(tail):
        raise RequestError(f"{len(tail)} bytes belong to no tensor", "body")
    if len(found) < len(known):
        missing = next(name for name in known if name not in found)
        raise RequestError("is missing from the inputs", missing)
    return found


def _binary_size(tensor: Tensor) -> int | None:
    size = None if tensor.parameters is None else tensor.parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise RequestError(f"binary_data_size = {size!r:.40}: must be 0 or more", tensor.name)
    if tensor.data is not None:
        raise RequestError("has data in the JSON and binary_data_size: give one", tensor.name)
    return size


def wants_bytes(request: InferRequest) -> bool:
    """Whether the scores are to come as bytes.

    Raises:
        RequestError: another output is asked for.
    """
    wanted = (request.parameters or {}).get("binary_data_output", False)
    for output in request.outputs or ():
        if output.name != OUTPUT:
            raise RequestError(
                f"is no output of this model: there is {OUTPUT!r}", f"{output.name:.80}"
            )
        wanted = (output.parameters or {}).get("binary_data", wanted)
    if not isinstance(wanted, bool):
        raise RequestError(f"{wanted!r:.40}: must be true or false", "binary_data_output")
    return wanted


def _reply(
    name: str, version: str, request_id: str | None, scores: Scores, as_bytes: bool
) -> Reply:
    tensor = OutputTensor(OUTPUT, [len(scores)], "FP32")
    if not as_bytes:
        tensor.data = scores.tolist()
        answer = InferResponse(name, version, [tensor], request_id)
        return Reply(msgspec.json.encode(answer), JSON, {})
    content = scores.astype("<f4", copy=False).tobytes()
    tensor.parameters = {"binary_data_size": len(content)}
    head = msgspec.json.encode(InferResponse(name, version, [tensor], request_id))
    return Reply(head + content, BINARY, {BINARY_HEADER: str(len(head))})


def metadata(name: str, versions: list[str], card: ModelCard) -> dict[str, Any]:
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
        "versions": versions,
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1]}],
    }
