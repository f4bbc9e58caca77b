"""A client of a served small model, and requests that it answers."""

import pytest
from requests_v2 import serving
from small_model import trained

from serving.model_slot import ModelSlot
from stream_prune.artifact import Lineage


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """The artifact of another model with the same features."""
    folder = tmp_path_factory.mktemp("other") / "model"
    return trained(seed=5, steps=2).write(folder, lineage=Lineage("run", 6))


@pytest.fixture(scope="module")
def slot(written):
    slot = ModelSlot("ctr")
    slot.load(written, "7")
    return slot


@pytest.fixture(scope="module")
def client(slot):
    with serving(slot) as client:
        yield client
