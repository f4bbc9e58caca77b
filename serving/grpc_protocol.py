"""Scoring requests over gRPC: their messages to columns and back, by the rules of the HTTP ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from serving import protocol
from serving.errors import RequestError
from serving.grpc_messages import MESSAGES
from serving.protocol import InferRequest, Question, Reply, RequestedOutput, Scores
from serving.tensors import Tensor
from stream_prune.artifact import ModelCard
from stream_prune.features import FeatureSpec

_CONTENTS = {
    "BOOL": ("bool_contents", "u1"),
    "INT8": ("int_contents", "i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "UINT8": ("uint_contents", "u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
    "BYTES": ("bytes_contents", ""),
}
"""Where the values of a datatype stand, and how NumPy writes them."""


def parsed(kind: str, body: bytes) -> Any:
    """A message.

    Raises:
        RequestError: the bytes are none.
    """
    try:
        return MESSAGES[kind].FromString(body)
    except DecodeError:
        raise RequestError(f"is no {kind}", "body") from None


def question(message: Any, spec: FeatureSpec, most_rows: int) -> Question:
    """What a ModelInferRequest asks.

    Raises:
        RequestError: names the tensor, and what is wrong with it.
    """
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        raise RequestError(
            f"there are {len(raw)}, there are {len(message.inputs)} inputs", "raw_input_contents"
        )
    tensors, tail = [], []
    for at, given in enumerate(message.inputs):
        tensor, content = _tensor(given, raw[at] if raw else None)
        tensors.append(tensor)
        tail.append(content)
    outputs = [RequestedOutput(each.name, _plain(each.parameters)) for each in message.outputs]
    request = InferRequest(tensors, message.id, _plain(message.parameters), outputs)
    as_bytes = protocol.wants_bytes(request)
    columns = protocol.columns(request, memoryview(b"".join(tail)), spec, most_rows)

    def reply(name: str, version: str, scores: Scores) -> Reply:
        answer = MESSAGES["ModelInferResponse"](
            model_name=name, model_version=version, id=message.id
        )
        tensor = answer.outputs.add(name=protocol.OUTPUT, datatype="FP32", shape=[len(scores)])
        if as_bytes or raw:  # who sends bytes reads bytes, as other servers of this protocol do
            answer.raw_output_contents.append(scores.astype("<f4", copy=False).tobytes())
        else:
            tensor.contents.fp32_contents.extend(scores.tolist())
        return Reply(answer.SerializeToString(), "application/grpc", {})

    return Question(columns, reply)


def metadata(name: str, versions: list[str], card: ModelCard) -> Any:
    """A ModelMetadataResponse."""
    return MESSAGES["ModelMetadataResponse"](**protocol.metadata(name, versions, card))


def _tensor(given: Any, raw: bytes | None) -> tuple[Tensor, bytes]:
    """A tensor, and what of it comes as bytes behind the others."""
    parameters = _plain(given.parameters) or {}
    tensor = Tensor(given.name, list(given.shape), given.datatype, None, parameters or None)
    if raw is None:
        field, code = _CONTENTS.get(given.datatype, ("", ""))
        values = list(getattr(given.contents, field)) if field else []
        if given.datatype == "BYTES":
            tensor.data = [_text(value, given.name) for value in values]
            return tensor, b""
        if len(values) == 1 and not parameters:
            tensor.data = values
            return tensor, b""
        raw = _packed(values, code, given) if field else b""
    tensor.parameters = parameters | {"binary_data_size": len(raw)}
    return tensor, raw


def _packed(values: list[Any], code: str, given: Any) -> bytes:
    try:
        return np.array(values, np.dtype(code)).tobytes()
    except OverflowError:
        reason = f"holds a value that is no {given.datatype}"
        raise RequestError(reason, f"{given.name:.80}") from None


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RequestError("holds a string that is no UTF-8", f"{name:.80}") from None


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters of a message, as JSON would have them."""
    found = {}
    for key, value in parameters.items():
        choice = value.WhichOneof("parameter_choice")
        found[key] = None if choice is None else getattr(value, choice)
    return found or None
