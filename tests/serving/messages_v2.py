"""Requests of the v2 protocol over gRPC, from the inputs of HTTP ones, and their scores."""

import numpy as np

from serving.grpc_messages import MESSAGES

CONTENTS = {"FP64": "fp64_contents", "INT64": "int64_contents", "BYTES": "bytes_contents",
            "BOOL": "bool_contents", "FP32": "fp32_contents"}  # fmt: skip
NULLS = {"FP64": -7777.0, "INT64": -7777, "BYTES": "(none)"}


def request(inputs, raw=False, **more):
    """The v2 inputs of an HTTP request as a message; nulls by a value that stands for them."""
    message = MESSAGES["ModelInferRequest"](**{"model_name": "ctr", **more})
    for given_one in inputs:
        kind = given_one["datatype"]
        tensor = message.inputs.add(name=given_one["name"], datatype=kind, shape=given_one["shape"])
        values = given_one["data"]
        if None in values:
            null = NULLS[kind]
            values = [null if value is None else value for value in values]
            field = "string_param" if kind == "BYTES" else "int64_param"
            setattr(tensor.parameters["null"], field, null if kind == "BYTES" else int(null))
        if kind == "BYTES":
            values = [value.encode() for value in values]
        if not raw:
            getattr(tensor.contents, CONTENTS[kind]).extend(values)
        elif kind == "BYTES":
            content = b"".join(len(value).to_bytes(4, "little") + value for value in values)
            message.raw_input_contents.append(content)
        else:
            code = {"FP64": "<f8", "INT64": "<i8", "FP32": "<f4", "BOOL": "u1"}[kind]
            message.raw_input_contents.append(np.array(values, code).tobytes())
    return message


def scores(answer):
    (output,) = answer.outputs
    if answer.raw_output_contents:
        return np.frombuffer(answer.raw_output_contents[0], "<f4")
    return np.array(output.contents.fp32_contents, np.float32)
