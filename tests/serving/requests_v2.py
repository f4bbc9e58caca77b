"""Requests of the Open Inference Protocol v2 to the small model, from raw columns."""

import numpy as np
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.config import ServingConfig

URL = "/v2/models/ctr/infer"
JSON = {"content-type": "application/json"}
ROW = {
    "distance": 1400.0,
    "hour": 7,
    "wind": -3.25,
    "carrier": "c1",
    "tail": 17,
    "tags": ["t1", "t2"],
}
TYPES = {
    "distance": "FP64",
    "hour": "INT64",
    "wind": "FP64",
    "carrier": "BYTES",
    "tail": "INT64",
    "tags": "BYTES",
}


def tensors(columns):
    """Columns as v2 tensors; bags are filled up with nulls to one width."""
    made = []
    for name, values in columns.items():
        shape, data = [len(values)], values
        if name == "tags":
            width = max(len(bag or []) for bag in values)
            shape = [len(values), width]
            data = [t for bag in values for t in [*(bag or []), *[None] * width][:width]]
        made.append({"name": name, "shape": shape, "datatype": TYPES[name], "data": data})
    return made


def good():
    """One row."""
    return tensors({name: [value] for name, value in ROW.items()})


def changed(name, **change):
    """One row with a tensor changed."""
    return [{**t, **change} if t["name"] == name else t for t in good()]


def scores(answer):
    """The scores of an answer, which must be one."""
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert (output["name"], output["datatype"]) == ("score", "FP32")
    assert output["shape"] == [len(output["data"])]
    return np.array(output["data"], np.float32)


def serving(slot, config=None, follower=None):
    """A client of an application of its own."""
    app = create_app(slot, config or ServingConfig(), follower)
    return TestClient(app, raise_server_exceptions=False)
