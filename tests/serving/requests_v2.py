"""Requests of the Open Inference Protocol v2 to the small model, from raw columns."""

import threading
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn

from serving.app import create_app
from serving.config import ServingConfig
from serving.server import http_config, listen

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


@contextmanager
def serving(slot, config=None, follower=None):
    """A client of a server of its own."""
    config = config or ServingConfig()
    listener = listen("127.0.0.1", 0)
    app = create_app(slot, config, follower)
    server = uvicorn.Server(http_config(app, config))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
        client.app = app
        yield client
    server.should_exit = True
    thread.join()
    listener.close()
