"""gRPC answers as HTTP does: the same scores, the same refusals."""

import json

import grpc
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from messages_v2 import request, scores
from requests_v2 import ROW, URL, good, serving, tensors
from small_model import raw_rows

from serving.config import Access, Limits, ServingConfig
from serving.grpc_messages import MESSAGES, SERVICE


class Client:
    """A client of the server that runs beside an HTTP one."""

    def __init__(self, http, credentials=None):
        self.http = http
        address = f"127.0.0.1:{http.app.state.grpc.port}"
        self._channel = (
            grpc.insecure_channel(address)
            if credentials is None
            else grpc.secure_channel(address, credentials)
        )

    def __call__(self, method, body=b"", metadata=()):
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        asked = body if isinstance(body, bytes) else body.SerializeToString()
        return MESSAGES[f"{method}Response"].FromString(call(asked, metadata=metadata, timeout=60))

    def refused(self, body, method="ModelInfer", **more):
        with pytest.raises(grpc.RpcError) as caught:
            self(method, body, **more)
        error = caught.value
        told = dict(error.trailing_metadata() or ()).get("error-object-bin")
        return error.code(), None if told is None else json.loads(told)


def connected(slot, **config):
    return serving(slot, ServingConfig(grpc_port=0, **config))


@pytest.fixture(scope="module")
def ask(slot):
    with connected(slot) as http:
        yield Client(http)


@settings(max_examples=25)
@given(rows=st.integers(1, 40), seed=st.integers(0, 2**16), raw=st.booleans())
def test_a_score_over_grpc_is_the_trainers(rows, seed, raw, ask, model):
    columns = raw_rows(rows, seed)
    answer = ask("ModelInfer", request(tensors(columns.to_pydict()), raw))
    assert scores(answer) == pytest.approx(model.score(columns), abs=2e-6)
    assert (answer.model_name, answer.model_version) == ("ctr", "7")


def test_a_large_request_is_answered_too(ask, model):
    columns = raw_rows(3_000, 5)
    answer = ask("ModelInfer", request(tensors(columns.to_pydict()), raw=True, id="many"))
    assert scores(answer) == pytest.approx(model.score(columns), abs=2e-6)
    assert answer.id == "many"


def changed(name, **more):
    return [{**tensor, **more} if tensor["name"] == name else tensor for tensor in good()]


@pytest.mark.parametrize(
    "inputs",
    [
        good()[1:],
        [*good(), good()[0]],
        [*good(), {**good()[0], "name": "nobody"}],
        changed("wind", data=[float("inf")]),
        changed("wind", shape=[2]),
        changed("wind", shape=[0], data=[]),
        changed("hour", datatype="BYTES", data=["x"]),
        changed("tail", data=[-1]),
        changed("carrier", shape=[1, 1, 1]),
    ],
    ids=["missing", "twice", "unknown", "infinite", "count", "empty", "datatype", "id", "shape"],
)
def test_what_http_refuses_grpc_refuses_for_the_same_field(inputs, ask):
    text = json.dumps({"inputs": inputs})
    http = ask.http.post(URL, content=text, headers={"content-type": "application/json"})
    assert http.status_code == 400
    for raw in (False, True):
        code, told = ask.refused(request(inputs, raw))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert told["field"] == http.json()["field"]
        assert told["reason"]


@settings(max_examples=60)
@given(body=st.binary(max_size=80))
def test_no_bytes_make_the_server_fail(body, ask):
    for method in ("ModelInfer", "ModelMetadata", "ModelReady"):
        code, _ = ask.refused(body, method)
        assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


def test_health_metadata_and_versions(ask, slot):
    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert ask("ServerMetadata").name == "stream_prune"
    named = MESSAGES["ModelMetadataRequest"](name="ctr")
    known = ask("ModelMetadata", named)
    http = ask.http.get("/v2/models/ctr").json()
    assert list(known.versions) == http["versions"]
    found = [(each.name, each.datatype, list(each.shape)) for each in known.inputs]
    assert found == [(each["name"], each["datatype"], each["shape"]) for each in http["inputs"]]
    assert ask("ModelReady", MESSAGES["ModelReadyRequest"](name="ctr", version="7")).ready
    assert ask("ModelInfer", request(good(), model_version="7")).model_version == "7"
    code, told = ask.refused(request(good(), model_version="8"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "has no version '8' here: there are 7" in told["error"]
    assert ask.refused(request(good(), model_name="x"))[0] is grpc.StatusCode.NOT_FOUND


def test_a_value_may_stand_for_a_missing_one(ask, model):
    columns = {name: [value] * 2 for name, value in ROW.items()} | {"distance": [None, 5.0]}
    found = scores(ask("ModelInfer", request(tensors(columns))))
    assert found.shape == (2,)
    assert found[0] != found[1]


def test_limits_are_those_of_http(slot):
    small = Limits(rows=4, body_bytes=2_000)
    with connected(slot, limits=small) as http:
        ask = Client(http)
        code, told = ask.refused(request(tensors({k: [v] * 5 for k, v in ROW.items()})))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "holds 5 rows: must be 4 or fewer" in told["reason"]
        code, _ = ask.refused(b"x" * 2_001)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(scores(ask("ModelInfer", request(good())))) == 1


def test_a_request_too_many_is_told_when_to_come_again(ask):
    gate = ask.http.app.state.service.gate
    gate._inside, before = 64, gate._inside
    try:
        with pytest.raises(grpc.RpcError) as caught:
            ask("ModelInfer", request(good()))
    finally:
        gate._inside = before
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["retry-after"] == "1"


def test_without_a_key_nothing_but_health_is_answered(slot, monkeypatch):
    monkeypatch.setenv("KEYS", "a-key-that-may-score")
    with connected(slot, access=Access(key_env="KEYS")) as http:
        ask = Client(http)
        assert ask("ServerLive").live
        code, told = ask.refused(request(good()))
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert told["field"] == "authorization"
        key = (("authorization", "Bearer a-key-that-may-score"),)
        assert len(scores(ask("ModelInfer", request(good()), key))) == 1
        assert ask.refused(b"", "ModelMetadata")[0] is grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def certified(tmp_path):
    """Of one authority: its PEM, the server's certificate and key as files, a client's as PEM."""
    authority = trustme.CA()
    own, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    access = {"certificate": tmp_path / "certificate.pem", "certificate_key": tmp_path / "key.pem"}
    shown = client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()
    return authority.cert_pem.bytes(), access, tmp_path / "authority.pem", shown


def test_with_a_certificate_only_encrypted_requests_of_those_who_trust_it_pass(slot, certified):
    authority, files, _, _ = certified
    with connected(slot, access=Access(**files)) as http:
        trusting = Client(http, grpc.ssl_channel_credentials(authority))
        assert len(scores(trusting("ModelInfer", request(good())))) == 1
        for other in (None, grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())):
            code, told = Client(http, other).refused(request(good()))
            assert (code, told) == (grpc.StatusCode.UNAVAILABLE, None)


def test_with_authorities_named_only_clients_with_their_certificate_pass(slot, certified):
    authority, files, authorities, (key, chain) = certified
    with connected(slot, access=Access(**files, client_authorities=authorities)) as http:
        known = Client(http, grpc.ssl_channel_credentials(authority, key, chain))
        assert len(scores(known("ModelInfer", request(good())))) == 1
        stranger = trustme.CA().issue_cert("client@example.org")
        unknown = stranger.private_key_pem.bytes(), stranger.cert_chain_pems[0].bytes()
        for shown in ((), unknown):
            channel = Client(http, grpc.ssl_channel_credentials(authority, *shown))
            code, told = channel.refused(request(good()))
            assert (code, told) == (grpc.StatusCode.UNAVAILABLE, None)


def test_a_fault_of_the_servers_shows_no_trace(ask, slot, monkeypatch):
    def broken(_):
        raise ValueError("/etc/secret")

    monkeypatch.setattr(slot.live.scorer, "scores_of", broken)
    code, told = ask.refused(request(good()))
    assert code is grpc.StatusCode.INTERNAL
    assert told == {"error": "the server failed; its log says why"}
    assert 'stream_prune_requests_total{code="500",route="grpc ModelInfer"} 1.0' in (
        ask.http.get("/metrics").text
    )
