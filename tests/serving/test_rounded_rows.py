"""A model with rounded rows: as near to the trainer's scores over HTTP and gRPC as it states."""

import json

import grpc
import messages_v2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests_v2 import URL, scores, serving, tensors
from small_model import raw_rows, trained

from serving.config import ServingConfig
from serving.grpc_messages import MESSAGES, SERVICE
from serving.model_slot import ModelSlot
from stream_prune.artifact.config import ArtifactConfig
from stream_prune.artifact.format import MODEL
from stream_prune.evaluation.entropy import losses

SHOWN = 2e-7
"""What a probability loses where it is written as float32, here and in the trainer."""


@pytest.fixture(scope="module")
def model():
    """A small model that has learned some rows by heart, so that its scores are far apart."""
    model = trained()
    for step in range(12):
        model.learn(raw_rows(256, seed=step % 4), seed=step % 4)
    return model


@pytest.fixture(scope="module", params=["float16", "int8"])
def folder(request, model, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "model"
    return model.write(path, config=ArtifactConfig(rows=request.param))


@pytest.fixture(scope="module")
def allowed(folder):
    """How far a logit may be from the trainer's, relative to max(1, |logit|), as the file says."""
    return json.loads((folder / MODEL).read_text())["logit_tolerance"]


@pytest.fixture(scope="module")
def rounded(folder):
    slot = ModelSlot("ctr")
    slot.load(folder, "8")
    with serving(slot, ServingConfig(grpc_port=0)) as client:
        yield client


@pytest.fixture(scope="module")
def infer(rounded):
    """The same server's ModelInfer over gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{rounded.app.state.grpc.port}") as channel:
        yield channel.unary_unary(f"/{SERVICE}/ModelInfer")


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def asked(client, raw):
    answer = client.post(URL, json={"inputs": tensors(raw.to_pydict())})
    return scores(answer).astype(np.float64)


def asked_over_grpc(infer, raw):
    message = messages_v2.request(tensors(raw.to_pydict()), raw=True).SerializeToString()
    answer = MESSAGES["ModelInferResponse"].FromString(infer(message, timeout=60))
    return messages_v2.scores(answer).astype(np.float64)


@given(rows=st.integers(1, 40), seed=st.integers(0, 2**16))
def test_a_score_is_the_trainers_within_the_stated_tolerance(
    rows, seed, rounded, infer, allowed, model
):
    raw = raw_rows(rows, seed)
    found, exact = asked(rounded, raw), model.score(raw).astype(np.float64)
    assert asked_over_grpc(infer, raw) == pytest.approx(found, abs=SHOWN)
    logit = np.log(exact / (1 - exact))
    reach = allowed * np.maximum(1, np.abs(logit))
    assert (found >= sigmoid(logit - reach) - SHOWN).all()
    assert (found <= sigmoid(logit + reach) + SHOWN).all()


def test_rounding_shows_and_loses_less_than_a_twentieth_of_a_percent_of_ne(rounded, model):
    raw = raw_rows(4_000, seed=23)
    found, exact = asked(rounded, raw), model.score(raw).astype(np.float64)
    assert exact.std() > 0.05
    assert np.abs(found - exact).max() > 10 * SHOWN
    labels = (np.random.default_rng(23).random(len(exact)) < exact).astype(np.float32)
    lost = losses(labels, found).sum() / losses(labels, exact).sum() - 1
    assert lost < 0.0005
