"""The Open Inference Protocol v2 over HTTP: the scorer's scores, and clear refusals."""

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from requests_v2 import JSON, ROW, URL, changed, good, scores, tensors
from small_model import SPEC, raw_rows

from serving.app import create_app
from serving.model_slot import ModelSlot


@given(rows=st.integers(1, 40), seed=st.integers(0, 2**16))
def test_a_score_over_http_is_the_scorers_and_the_trainers(rows, seed, client, slot, model):
    raw = raw_rows(rows, seed)
    found = scores(client.post(URL, json={"inputs": tensors(raw.to_pydict())}))
    assert found.tolist() == slot.live.scorer.score(raw.to_pydict()).tolist()
    np.testing.assert_allclose(found, model.score(raw), atol=2e-6)


def test_an_answer_says_which_version_gave_it_and_repeats_the_id(client):
    answer = client.post(URL, json={"id": "42", "inputs": good()}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("ctr", "7", "42")
    assert "id" not in client.post(URL, json={"inputs": good()}).json()


def test_shapes_and_nesting_are_the_protocols(client):
    rows = {name: [value] * 2 for name, value in ROW.items()}
    expected = scores(client.post(URL, json={"inputs": tensors(rows)})).tolist()
    column = [{**t, "shape": [2, 1]} if len(t["shape"]) == 1 else t for t in tensors(rows)]
    assert scores(client.post(URL, json={"inputs": column})).tolist() == expected
    nested = [
        {**t, "data": [t["data"][:1], t["data"][1:]]}
        if t["name"] != "tags"
        else {**t, "data": [["t1", "t2"], ["t1", "t2"]]}
        for t in column
    ]
    assert scores(client.post(URL, json={"inputs": nested})).tolist() == expected


def test_nulls_are_missing_values_where_the_features_allow_them(client, slot):
    row = {**ROW, "distance": None, "carrier": None, "tags": []}
    columns = {name: [value] for name, value in row.items()}
    found = scores(client.post(URL, json={"inputs": tensors(columns)}))
    assert found.tolist() == slot.live.scorer.score(columns).tolist()


def test_health_and_metadata(client):
    assert client.get("/v2").json()["name"] == "stream_prune"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/ctr/ready").json() == {"name": "ctr", "ready": True}
    described = client.get("/v2/models/ctr").json()
    assert described["versions"] == ["7"]
    assert [(t["name"], len(t["shape"])) for t in described["inputs"]] == [
        (name, 2 if name == "tags" else 1) for name in SPEC.inputs
    ]
    assert described["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1]}]


def test_before_a_model_is_loaded_the_server_lives_and_is_not_ready():
    client = TestClient(create_app(ModelSlot("ctr")), raise_server_exceptions=False)
    assert client.get("/v2/health/live").status_code == 200
    for answer in (
        client.get("/v2/health/ready"),
        client.get("/v2/models/ctr"),
        client.get("/v2/models/ctr/ready"),
        client.post(URL, json={"inputs": good()}),
    ):
        assert answer.status_code == 503
        assert answer.json() == {"error": "model 'ctr' is not loaded yet"}


@pytest.mark.parametrize(
    ("inputs", "field", "reason"),
    [
        ([t for t in good() if t["name"] != "tail"], "tail", "is missing"),
        ([*good(), {**good()[0], "name": "other"}], "other", "is no input"),
        ([*good(), good()[0]], "distance", "is there twice"),
        ([], "distance", "is missing"),
        (changed("wind", shape=[2]), "wind", "holds 1 values, shape [2] says 2"),
        (changed("wind", shape=[2], data=[1, 2]), "wind", "has 2 rows"),
        (changed("wind", shape=[1, 2], data=[1, 2]), "wind", "must be [rows] or [rows, 1]"),
        (changed("wind", shape=[]), "wind", "must be [rows] or [rows, 1]"),
        (changed("wind", shape=[-1]), "wind", "must be [rows] or [rows, 1]"),
        (changed("wind", shape=[1], data=[[1]]), "wind", "data is nested"),
        (changed("wind", shape=[1, 1], data=[[1, 2]]), "wind", "must be a list of 1 values"),
        (changed("tags", shape=[2]), "tags", "most ids a row"),
        (changed("tags", shape=[1, 3], data=[["a", "b"]]), "tags", "must be a list of 3 values"),
        (changed("wind", datatype="BYTES", data=["1"]), "wind", "datatype 'BYTES'"),
        (changed("carrier", datatype="FP32", data=[1.0]), "carrier", "datatype 'FP32'"),
        (changed("carrier", datatype="STRING"), "carrier", "datatype 'STRING'"),
        (changed("wind", data=["strong"]), "wind", "data[0] = 'strong': is no FP64"),
        (changed("wind", data=[True]), "wind", "data[0] = True: is no FP64"),
        (changed("wind", data=[None]), "wind", "is missing"),
        (changed("wind", data=[10**400]), "wind", "is no FP64"),
        (changed("wind", data=[1e300]), "wind", "finite"),
        (changed("hour", data=[1.5]), "hour", "is no INT64"),
        (changed("hour", datatype="INT8", data=[128]), "hour", "is no INT8"),
        (changed("tail", data=[-1]), "tail", "must be in [0, "),
        (changed("tail", datatype="UINT64", data=[2**63]), "tail", "int64"),
        (changed("tail", datatype="UINT64", data=[2**64]), "tail", "is no UINT64"),
        (changed("carrier", data=[{"a": 1}]), "carrier", "is no BYTES"),
        (changed("carrier", data=["\ud800"]), "carrier", ""),
    ],
)
def test_a_bad_input_is_named_with_its_reason(client, inputs, field, reason):
    answer = client.post(URL, content=json.dumps({"inputs": inputs}), headers=JSON)
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert error["field"] == field
    assert reason in error["reason"]
    assert field in error["error"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(client, value):
    body = json.dumps({"inputs": changed("distance", data=["X"])}).replace('"X"', value)
    answer = client.post(URL, content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["field"] == "distance"
    assert "is no FP64" in answer.json()["reason"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/octet-stream"])
def test_another_content_type_is_named(client, kind):
    headers = {} if kind is None else {"content-type": kind}
    answer = client.post(URL, content=json.dumps({"inputs": good()}), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["field"] == "content-type"
    assert "must be application/json" in answer.json()["reason"]


def test_an_empty_batch_is_refused(client):
    empty = [{**t, "shape": [0, *t["shape"][1:]], "data": []} for t in good()]
    answer = client.post(URL, json={"inputs": empty})
    assert answer.status_code == 400
    assert "no rows" in answer.json()["reason"]


def test_the_row_of_a_bad_value_is_named(client):
    rows = {name: [value] * 3 for name, value in ROW.items()}
    rows["wind"] = [1.0, 2.0, None]
    error = client.post(URL, json={"inputs": tensors(rows)}).json()
    assert (error["field"], error["row"]) == ("wind", 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\x80\x81", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b'"x"', "body"),
        (b"{}", "body"),
        (b'{"inputs": null}', "inputs"),
        (b'{"inputs": [1]}', "inputs[0]"),
        (b'{"inputs": [{}]}', "inputs[0]"),
        (b'{"inputs": [{"name": 1, "shape": "x"}]}', "inputs[0].name"),
        (b"[" * 100_000, "body"),
    ],
)
def test_garbage_is_refused_with_field_and_reason(client, body, field):
    answer = client.post(URL, content=body, headers=JSON)
    assert answer.status_code == 400
    error = answer.json()
    assert error["field"].replace("[...]", "[0]") == field
    assert error["error"] == f"{error['field']}: {error['reason']}"
    assert "Traceback" not in answer.text


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    at=st.integers(0, 5),
    key=st.sampled_from(["name", "shape", "datatype", "data"]),
    value=json_values,
)
def test_no_value_anywhere_makes_the_server_fail(client, at, key, value):
    inputs = good()
    inputs[at] = {**inputs[at], key: value}
    answer = client.post(URL, content=json.dumps({"inputs": inputs}), headers=JSON)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]


def test_unknown_models_paths_and_outputs_are_refused(client):
    answer = client.post("/v2/models/other/infer", json={"inputs": good()})
    assert (answer.status_code, "other" in answer.json()["error"]) == (404, True)
    assert client.get("/v2/nothing").json()["error"]
    assert client.get(URL).status_code == 405
    wanted = {"inputs": good(), "outputs": [{"name": "logit"}]}
    assert client.post(URL, json=wanted).json()["field"] == "logit"


def test_a_fault_of_the_servers_shows_no_trace(client, slot, monkeypatch):
    def broken(columns):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(slot.live.scorer, "scores_of", broken)
    answer = client.post(URL, json={"inputs": good()})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed; its log says why"}
