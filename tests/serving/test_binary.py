"""The binary tensor extension of the v2 protocol: the scores of JSON, and clear refusals."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests_v2 import ROW, URL, changed, good, scores, tensors
from small_model import raw_rows

HEADER = "inference-header-content-length"
KINDS = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4", "UINT8": "u1"}


def packed(tensor, null=None):
    """A tensor's values as bytes; nulls as the value that stands for them."""
    data = [null if value is None else value for value in tensor["data"]]
    if tensor["datatype"] == "BYTES":
        words = [word.encode() for word in data]
        return b"".join(struct.pack("<I", len(word)) + word for word in words)
    return np.array(data, KINDS[tensor["datatype"]]).tobytes()


def ask(client, inputs, content=None, **request):
    """Send every tensor as bytes, with a value that stands for null where there are nulls."""
    nulls = {"FP64": "nan", "INT64": -1, "BYTES": "<null>"}
    heads, tails = [], []
    for tensor in inputs:
        kind = tensor["datatype"]
        null = nulls[kind] if None in tensor["data"] else None
        tail = packed(tensor, float("nan") if null == "nan" else null)
        parameters = {"binary_data_size": len(tail)} | ({} if null is None else {"null": null})
        head = {key: tensor[key] for key in ("name", "shape", "datatype")}
        heads.append({**head, "parameters": parameters})
        tails.append(tail)
    text = json.dumps({"inputs": heads, **request}).encode()
    body = text + b"".join(tails) if content is None else text + content
    return client.post(URL, content=body, headers={HEADER: str(len(text))})


@given(rows=st.integers(1, 40), seed=st.integers(0, 2**16))
def test_bytes_and_json_have_the_same_scores(rows, seed, client):
    inputs = tensors(raw_rows(rows, seed).to_pydict())
    assert scores(ask(client, inputs)).tolist() == pytest.approx(
        scores(client.post(URL, json={"inputs": inputs})).tolist(), abs=1e-6
    )


def test_scores_come_as_bytes_where_they_are_asked_for(client):
    expected = scores(client.post(URL, json={"inputs": good()}))
    wanted = {"outputs": [{"name": "score", "parameters": {"binary_data": True}}]}
    for request in (wanted, {"parameters": {"binary_data_output": True}}):
        answer = ask(client, good(), **request)
        assert answer.headers["content-type"] == "application/octet-stream"
        length = int(answer.headers[HEADER])
        (output,) = json.loads(answer.content[:length])["outputs"]
        assert output == {
            "name": "score",
            "shape": [1],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 4},
        }
        found = np.frombuffer(answer.content[length:], "<f4")
        assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused_as_bytes_too(client, value):
    answer = ask(client, changed("wind", data=[value]))
    assert (answer.status_code, answer.json()["field"]) == (400, "wind")
    assert "must be finite" in answer.json()["reason"]


@pytest.mark.parametrize(
    ("content", "field"),
    [(b"", "distance"), (bytes(20), "wind"), (bytes(24) + b"\xff" * 500, "carrier")],
)
def test_bytes_that_are_too_few_or_none_of_the_datatype_are_refused(client, content, field):
    answer = ask(client, good(), content)
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text


def test_bytes_that_belong_to_nobody_are_refused(client):
    tail = b"".join(packed(tensor) for tensor in good())
    assert ask(client, good(), tail).status_code == 200
    answer = ask(client, good(), tail + b"x")
    assert answer.json()["reason"] == "1 bytes belong to no tensor"


@pytest.mark.parametrize("length", ["-1", "x", "999999", "1e3", "٣"])
def test_a_wrong_length_of_the_json_is_refused(client, length):
    answer = client.post(URL, content=b"{}", headers={HEADER: length.encode()})
    assert (answer.status_code, answer.json()["field"]) == (400, HEADER)


@given(body=st.binary(max_size=200), length=st.integers(0, 200))
def test_no_bytes_make_the_server_fail(client, body, length):
    answer = client.post(URL, content=body, headers={HEADER: str(length)})
    assert answer.status_code == 400
    assert answer.json()["error"]


@given(tail=st.binary(max_size=200))
def test_no_tensor_of_bytes_makes_the_server_fail(client, tail):
    inputs = [
        {"name": name, "shape": [1, 2] if name == "tags" else [1], "datatype": kind}
        for name, kind in (
            ("distance", "FP16"),
            ("hour", "BOOL"),
            ("wind", "FP32"),
            ("carrier", "BYTES"),
            ("tail", "UINT64"),
            ("tags", "BYTES"),
        )
    ]
    sizes = [2, 1, 4, 8, 8, max(0, len(tail) - 23)]
    for tensor, size in zip(inputs, sizes, strict=True):
        tensor["parameters"] = {"binary_data_size": size}
    head = json.dumps({"inputs": inputs}).encode()
    answer = client.post(URL, content=head + tail, headers={HEADER: str(len(head))})
    assert answer.status_code in (200, 400)


def test_a_row_by_numpy_types_of_every_width(client):
    narrow = {"distance": "FP32", "hour": "UINT8", "wind": "FP32", "tail": "INT32"}
    inputs = [{**t, "datatype": narrow.get(t["name"], t["datatype"])} for t in good()]
    expected = scores(client.post(URL, json={"inputs": good()}))
    assert ROW["wind"] == np.float32(ROW["wind"])
    assert scores(ask(client, inputs)).tolist() == pytest.approx(expected.tolist(), abs=1e-6)
