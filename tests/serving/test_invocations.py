"""MLflow's protocol: the layouts that its clients send have the scores of the v2 protocol."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests_v2 import JSON, ROW, URL, scores, serving, tensors
from small_model import SINGLE, raw_rows, trained

from serving.model_slot import ModelSlot

INVOKE = "/invocations"


def layouts(columns):
    names = list(columns)
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    return [
        {"dataframe_split": {"columns": names, "data": rows, "index": list(range(len(rows)))}},
        {"dataframe_records": records},
        {"instances": records},
        {"inputs": columns},
    ]


@given(rows=st.integers(1, 20), seed=st.integers(0, 2**16))
def test_every_layout_has_the_scores_of_the_v2_protocol(rows, seed, client):
    columns = raw_rows(rows, seed).to_pydict()
    expected = scores(client.post(URL, json={"inputs": tensors(columns)})).tolist()
    for body in layouts({**columns, "more": [1] * rows}):  # MLflow ignores what is not asked for
        answer = client.post(INVOKE, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == pytest.approx(expected, abs=1e-6)
        assert answer.headers["x-model-version"] == "7"


def test_integer_ids_that_pandas_made_floats_are_integers(client):
    whole, floats = ({k: [v] for k, v in {**ROW, "tail": t}.items()} for t in (17, 17.0))
    answers = [client.post(INVOKE, json={"inputs": body}).json() for body in (whole, floats)]
    assert answers[0] == answers[1]


def test_csv_is_read_where_no_column_holds_lists(tmp_path, client):
    slot = ModelSlot("ctr")
    model = trained(spec=SINGLE)
    rows = raw_rows(20, seed=4).select(["carrier", "tail"])
    slot.load(model.write(tmp_path / "model", example=raw_rows(8)), "1")
    lines = ["tail,carrier"] + [
        f"{'' if r['tail'] is None else r['tail']},{r['carrier'] or ''}" for r in rows.to_pylist()
    ]
    with serving(slot) as single:
        kind = {"content-type": "text/csv; charset=utf-8"}
        answer = single.post(INVOKE, content="\n".join(lines), headers=kind)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == pytest.approx(model.score(rows).tolist(), abs=2e-6)
        for body in (b"", b"\xff\xfe\x00", b"a,a\n1,2", b"carrier,carrier,tail\n1,2,3", b"tail\nx"):
            assert single.post(INVOKE, content=body, headers=kind).status_code == 400
    refused = client.post(INVOKE, content="distance\n1", headers=kind)
    assert (refused.status_code, refused.json()["field"]) == (400, "tags")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"inputs": {}, "instances": {}}, "body"),
        ({"dataframe_records": []}, "distance"),
        ({"inputs": {"distance": [1]}}, "hour"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "dataframe_split.data[0]"),
        ({"dataframe_split": {"columns": ["tail", "tail"], "data": []}}, "tail"),
        ({"inputs": {k: [v] for k, v in ROW.items()}, "params": {"x": 1}}, "params"),
        ({"inputs": {k: [v] for k, v in {**ROW, "wind": "x"}.items()}}, "wind"),
        ({"inputs": {k: [v] for k, v in {**ROW, "tail": 1.5}.items()}}, "tail"),
        ({"inputs": {**{k: [v] for k, v in ROW.items()}, "wind": [1, 2]}}, "wind"),
        ({"inputs": 3}, "inputs"),
    ],
)
def test_a_bad_frame_is_named_with_its_reason(client, body, field):
    answer = client.post(INVOKE, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field
    assert answer.json()["reason"]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(layout=st.integers(0, 3), name=st.sampled_from(list(ROW)), value=json_values)
def test_no_frame_makes_the_server_fail(client, layout, name, value):
    body = layouts({**{k: [v] for k, v in ROW.items()}, name: [value]})[layout]
    answer = client.post(INVOKE, content=json.dumps(body), headers=JSON)
    assert answer.status_code in (200, 400), answer.text
