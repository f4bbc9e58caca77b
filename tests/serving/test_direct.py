"""Small requests are answered by the connection: as the application would, and in their order."""

import json
import socket
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from requests_v2 import JSON, ROW, URL, changed, good, scores, tensors

from serving.app import create_app

INVOCATIONS = "/invocations"
BODY = json.dumps({"inputs": good()}).encode()


@pytest.fixture(scope="module")
def application(slot):
    """The routes, which the connection leaves out where it can."""
    return TestClient(create_app(slot), raise_server_exceptions=False)


@contextmanager
def connected(client):
    url = client.base_url
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        yield connection


def request(body=BODY, path=URL, line="", version="1.1"):
    head = f"POST {path} HTTP/{version}\r\nhost: x\r\ncontent-type: application/json\r\n{line}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def answers(connection, count):
    """So many answers: status, headers and body of each."""
    found, got = [], b""
    while len(found) < count:
        part = connection.recv(65_536)
        assert part, got
        got += part
        while b"\r\n\r\n" in got:
            head, _, rest = got.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:])
            size = int(headers.get("content-length", 0))
            if len(rest) < size:
                break
            found.append((int(lines[0].split()[1]), headers, rest[:size]))
            got = rest[size:]
    return found


@pytest.mark.parametrize(
    ("path", "content", "headers"),
    [
        (URL, BODY, JSON),
        (URL, json.dumps({"inputs": good(), "id": "x"}), JSON),
        (URL, json.dumps({"inputs": tensors({k: [v] * 5 for k, v in ROW.items()})}), JSON),
        (URL, json.dumps({"inputs": good(), "parameters": {"binary_data_output": True}}), JSON),
        (URL, json.dumps({"inputs": changed("hour", data=["x"])}), JSON),
        (URL, json.dumps({"inputs": changed("hour", data=[None])}), JSON),
        (URL, json.dumps({"inputs": good()[1:]}), JSON),
        (URL, b"\xff{", JSON),
        (URL, b"", JSON),
        (URL, BODY, {"content-type": "text/plain"}),
        (URL, BODY, {**JSON, "inference-header-content-length": "nonsense"}),
        (INVOCATIONS, json.dumps({"dataframe_records": [ROW]}), JSON),
        (INVOCATIONS, json.dumps({"dataframe_records": []}), JSON),
        (f"{URL}?x=1", BODY, JSON),
        (URL.replace("ctr", "%63tr"), BODY, JSON),
        (URL.replace("ctr", "other"), BODY, JSON),
    ],
)
def test_an_answer_is_the_applications(client, application, path, content, headers):
    direct = client.post(path, content=content, headers=headers)
    by_route = application.post(path, content=content, headers=headers)
    assert (direct.status_code, direct.content) == (by_route.status_code, by_route.content)
    told = {name: value for name, value in direct.headers.items() if name != "date"}
    assert told == dict(by_route.headers)


def test_requests_that_come_together_are_answered_in_their_order(client):
    ids = [f"r{at}" for at in range(6)]
    bodies = [json.dumps({"inputs": good(), "id": each}).encode() for each in ids]
    versioned = URL.replace("/infer", "/versions/7/infer")  # by the application, which takes longer
    paths = [URL, versioned, URL, URL, versioned, URL]
    with connected(client) as connection:
        connection.sendall(b"".join(map(request, bodies, paths)))
        found = answers(connection, len(ids))
        assert [json.loads(body)["id"] for _, _, body in found] == ids
        connection.sendall(request())  # and the connection is as good as new
        assert answers(connection, 1)[0][0] == 200


def test_a_request_in_pieces_is_put_together(client):
    whole = request()
    head = whole.index(b"\r\n\r\n") + 4
    with connected(client) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cuts in ((5,), (head,), (head + 9,), (head - 2, head + 1, len(whole) - 1)):
            for begin, end in zip((0, *cuts), (*cuts, len(whole)), strict=True):
                connection.sendall(whole[begin:end])
            ((status, _, body),) = answers(connection, 1)
            assert (status, json.loads(body)["model_name"]) == (200, "ctr")


def test_a_client_that_wants_the_connection_closed_has_it_closed(client):
    for sent in (request(line="connection: close\r\n"), request(version="1.0")):
        with connected(client) as connection:
            connection.sendall(sent)
            assert answers(connection, 1)[0][0] == 200
            assert connection.recv(10) == b""


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(client):
    whole = request(line="expect: 100-continue\r\n")
    head = whole.index(b"\r\n\r\n") + 4
    with connected(client) as connection:
        connection.sendall(whole[:head])
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100")
        connection.sendall(whole[head:])
        assert answers(connection, 1)[0][0] == 200


def test_a_client_that_goes_in_the_middle_leaves_nothing_behind(client):
    with connected(client) as connection:
        connection.sendall(request()[:-3])
    under_way = "stream_prune_requests_in_flight 0.0"
    for _ in range(100):
        if under_way in client.get("/metrics").text:
            break
    else:
        pytest.fail("its place is still taken")
    scores(client.post(URL, content=BODY, headers=JSON))


def test_a_fault_is_answered_without_a_trace_and_the_connection_goes_on(client, slot, monkeypatch):
    def broken(_):
        raise ZeroDivisionError("secret")

    with connected(client) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(slot.live.scorer, "scores_of", broken)
            connection.sendall(request())
            ((status, _, body),) = answers(connection, 1)
        assert (status, json.loads(body)) == (
            500,
            {"error": "the server failed; its log says why"},
        )
        connection.sendall(request())
        assert answers(connection, 1)[0][0] == 200


def test_every_answer_is_counted(client, slot):
    def counted(code):
        labels = {"route": "infer", "code": code}
        value = slot.metrics.registry.get_sample_value("stream_prune_requests_total", labels)
        return value or 0

    good_before, bad_before = counted("200"), counted("400")
    client.post(URL, content=BODY, headers=JSON)
    client.post(URL, content=b"{", headers=JSON)
    assert (counted("200"), counted("400")) == (good_before + 1, bad_before + 1)
