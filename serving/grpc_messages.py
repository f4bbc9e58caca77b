"""The messages of the Open Inference Protocol over gRPC, described here and made by protobuf.

Names, numbers and types of the fields are those of the public protocol (package ``inference``), so
that any of its clients understands them. They are described in Python: no compiler has to run, and
the classes go with whichever version of protobuf is installed.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_FIELD = descriptor_pb2.FieldDescriptorProto
_PLAIN = {
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}
_PARAMETERS = "parameters: map InferParameter"
# Fields are numbered from 1 in the order in which they stand here.
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live: bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready: bool",
    "ModelReadyRequest": "name: string, version: string",
    "ModelReadyResponse": "ready: bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name: string, version: string, extensions: repeated string",
    "ModelMetadataRequest": "name: string, version: string",
    "ModelMetadataResponse": "name: string, versions: repeated string, platform: string, "
    "inputs: repeated ModelMetadataResponse.TensorMetadata, "
    "outputs: repeated ModelMetadataResponse.TensorMetadata",
    "ModelMetadataResponse.TensorMetadata": "name: string, datatype: string, shape: repeated int64",
    "InferParameter": "bool_param: bool, int64_param: int64, string_param: string, "
    "double_param: double, uint64_param: uint64",
    "InferTensorContents": "bool_contents: repeated bool, int_contents: repeated int32, "
    "int64_contents: repeated int64, uint_contents: repeated uint32, "
    "uint64_contents: repeated uint64, fp32_contents: repeated float, "
    "fp64_contents: repeated double, bytes_contents: repeated bytes",
    "ModelInferRequest": f"model_name: string, model_version: string, id: string, {_PARAMETERS}, "
    "inputs: repeated ModelInferRequest.InferInputTensor, "
    "outputs: repeated ModelInferRequest.InferRequestedOutputTensor, "
    "raw_input_contents: repeated bytes",
    "ModelInferRequest.InferInputTensor": "name: string, datatype: string, shape: repeated int64, "
    f"{_PARAMETERS}, contents: InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": f"name: string, {_PARAMETERS}",
    "ModelInferResponse": f"model_name: string, model_version: string, id: string, {_PARAMETERS}, "
    "outputs: repeated ModelInferResponse.InferOutputTensor, raw_output_contents: repeated bytes",
    "ModelInferResponse.InferOutputTensor": "name: string, datatype: string, "
    f"shape: repeated int64, {_PARAMETERS}, contents: InferTensorContents",
}
_CHOICES = {"InferParameter": "parameter_choice"}
"""Messages of which one field is set at most."""


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, Any] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        made[name] = message
        for number, field in enumerate(filter(None, fields.split(", ")), 1):
            _add_field(message, name, number, field)
        if name in _CHOICES:
            message.oneof_decl.add(name=_CHOICES[name])
            for each in message.field:
                each.oneof_index = 0
    return file


def _add_field(message: Any, place: str, number: int, field: str) -> None:
    name, kind = field.split(": ")
    how, _, of = kind.rpartition(" ")
    added = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if how:
        added.label = _FIELD.LABEL_REPEATED
    if how == "map":  # which on the wire is a list of pairs
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "", 1, "key: string")
        _add_field(entry, "", 2, f"value: {of}")
        of = f"{place}.{entry.name}"
    if of in _PLAIN:
        added.type = _PLAIN[of]
    else:
        added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".{PACKAGE}.{of}"


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()  # its own: a client's copy may be loaded beside it
    pool.Add(_described())
    top = [name for name in _MESSAGES if "." not in name]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in top
    }


MESSAGES = _classes()
"""The classes of the messages, by their names."""
