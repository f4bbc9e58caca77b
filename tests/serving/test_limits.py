"""What a server refuses before it scores: too much, too slow, too many, and strangers."""

import json
import socket
import threading
import time

import httpx
import pytest
from requests_v2 import JSON, ROW, URL, good, scores, serving, tensors

from serving.config import Access, Batching, Limits, ServingConfig
from stream_prune.errors import ConfigError

KEY, ADMIN = "a-key-that-may-score", "a-key-that-may-do-all"


def limited(slot, **limits):
    return serving(slot, ServingConfig(limits=Limits(**limits)))


@pytest.fixture
def server(slot):
    """A real server, where one connection's pace matters; its limits are short."""
    config = ServingConfig(
        limits=Limits(request_s=2.0, idle_s=0.5, header_bytes=4096, connections=3, in_flight=1)
    )
    with serving(slot, config) as client:
        yield client.base_url.host, client.base_url.port


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(slot):
    with limited(slot, body_bytes=1_000) as client:
        for body in (b"x" * 1_001, iter([b"x" * 600] * 2)):
            answer = client.post(URL, content=body, headers=JSON)
            assert answer.status_code == 413
            assert answer.json()["field"] == "body"
            assert "1000 bytes or fewer" in answer.json()["reason"]
        scores(client.post(URL, json={"inputs": good()}))


def test_too_many_rows_are_refused(slot):
    rows = {name: [value] * 5 for name, value in ROW.items()}
    with limited(slot, rows=4) as client:
        answer = client.post(URL, json={"inputs": tensors(rows)})
        assert (answer.status_code, answer.json()["field"]) == (413, "distance")
        assert "holds 5 rows: must be 4 or fewer" in answer.json()["reason"]
        records = [ROW] * 5
        answer = client.post("/invocations", json={"dataframe_records": records})
        assert (answer.status_code, answer.json()["field"]) == (413, "distance")


def test_ten_megabytes_of_garbage_are_refused_in_words(client):
    garbage = bytes(range(256)) * 40_000
    answer = client.post(URL, content=garbage, headers=JSON)
    assert (answer.status_code, answer.json()["field"]) == (413, "body")
    answer = client.post(URL, content=garbage[:8_000_000], headers=JSON)
    assert (answer.status_code, answer.json()["field"]) == (400, "body")
    assert len(answer.text) < 1_000


def test_a_request_too_many_is_told_to_come_again(server):
    with socket.create_connection(server) as slow:
        slow.sendall(f"POST {URL} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n".encode())
        root, under_way = f"http://127.0.0.1:{server[1]}", "stream_prune_requests_in_flight 1.0"
        deadline = time.monotonic() + 1
        while under_way not in httpx.get(f"{root}/metrics").text and time.monotonic() < deadline:
            time.sleep(0.01)
        answer = httpx.post(f"{root}{URL}", json={"inputs": good()})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert "come again" in answer.json()["error"]
        # and the slow one, whose body never comes, is told so
        assert b" 408 " in slow.recv(1_000)
    answer = httpx.post(f"http://127.0.0.1:{server[1]}{URL}", json={"inputs": good()})
    assert answer.status_code == 200


def test_a_score_that_takes_too_long_is_given_up_and_the_next_is_answered(slot, monkeypatch):
    rows = {name: [value] * 1_000 for name, value in ROW.items()}  # scored beside the small ones
    go_on, scores_of = threading.Event(), slot.live.scorer.scores_of

    def held_up(inputs):
        assert go_on.wait(30)
        return scores_of(inputs)

    monkeypatch.setattr(slot.live.scorer, "scores_of", held_up)
    config = ServingConfig(limits=Limits(request_s=1.0, in_flight=1), workers=2)
    with serving(slot, config) as client:
        answer = client.post(URL, json={"inputs": tensors(rows)})
        assert answer.status_code == 504
        assert answer.json() == {"error": "there was no score in 1 s: send fewer rows"}
        # Its place is free again, though the model still works on it.
        monkeypatch.undo()
        assert len(scores(client.post(URL, json={"inputs": tensors(rows)}))) == 1_000
        go_on.set()


@pytest.mark.parametrize("sent", [b"", b"POST /v2", b"GET / HTTP/1.1\r\nx: " + b"y" * 5_000])
def test_a_connection_that_never_asks_is_closed(server, sent):
    with socket.create_connection(server, timeout=10) as silent:
        silent.sendall(sent)
        assert silent.recv(1_000) == b""


def test_connections_are_limited(server):
    held = [socket.create_connection(server, timeout=10) for _ in range(3)]
    time.sleep(0.1)
    with socket.create_connection(server, timeout=0.4) as fourth:
        assert fourth.recv(10) == b""
    for one in held:
        one.close()


@pytest.fixture
def keyed(slot, monkeypatch):
    monkeypatch.setenv("KEYS", f"another-key-that-may, {KEY}")
    monkeypatch.setenv("ADMIN_KEYS", ADMIN)
    access = Access(key_env="KEYS", admin_key_env="ADMIN_KEYS")
    with serving(slot, ServingConfig(access=access)) as client:
        yield client


def test_without_a_key_nothing_but_health_is_answered(keyed):
    for path in ("/v2", "/v2/models/ctr", "/metrics", "/docs", "/openapi.json"):
        assert keyed.get(path).status_code == 401
    answer = keyed.post(URL, json={"inputs": good()})
    assert answer.status_code == 401
    assert answer.json()["field"] == "authorization"
    assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/v2/health/live", "/v2/health/ready", "/ping", "/health"):
        assert keyed.get(path).status_code == 200


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        (KEY, URL, 200),
        (ADMIN, URL, 200),
        ("another-key-that-may", URL, 200),
        (KEY[:-1], URL, 401),
        ("", URL, 401),
        ("ä", URL, 401),
        (KEY, "/v2/repository/models/ctr/rollback", 401),
        (ADMIN, "/v2/repository/models/ctr/rollback", 409),
        (KEY, "/v2/repository/index", 200),
    ],
)
def test_a_key_opens_what_it_is_for(keyed, key, path, status):
    headers = {"authorization": f"Bearer {key}".strip().encode()}
    assert keyed.post(path, json={"inputs": good()}, headers=headers).status_code == status


def test_on_a_public_address_nobody_rolls_back_without_an_admin_key(slot):
    with serving(slot, ServingConfig(host="0.0.0.0")) as client:
        answer = client.post("/v2/repository/models/ctr/rollback")
        assert answer.status_code == 403
        assert "access.admin_key_env" in answer.json()["error"]
        assert client.post(URL, json={"inputs": good()}).status_code == 200


def test_settings_out_of_range_are_named():
    for make, name in (
        (lambda: Limits(rows=0), "limits.rows = 0"),
        (lambda: Batching(wait_ms=-1), "batching.wait_ms = -1"),
        (lambda: ServingConfig(port=70_000), "port = 70000"),
        (lambda: Access(key_env="UNSET").keys("key_env"), "access.key_env = 'UNSET'"),
    ):
        with pytest.raises(ConfigError, match=name):
            make()


def test_requests_that_wait_for_one_another_have_their_own_scores(slot, client):
    config = ServingConfig(batching=Batching(wait_ms=20, rows=6))
    bodies = [
        json.dumps({"inputs": tensors({**{k: [v] for k, v in ROW.items()}, "hour": [hour]})})
        for hour in range(24)
    ]
    expected = [scores(client.post(URL, content=body, headers=JSON))[0] for body in bodies]
    found = {}
    with serving(slot, config) as batched:

        def ask(at):
            found[at] = scores(batched.post(URL, content=bodies[at], headers=JSON))[0]

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(bodies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found[at] for at in range(24)] == pytest.approx(expected, abs=1e-6)
        # They came together: the model was called fewer times than there were requests.
        value = slot.metrics.registry.get_sample_value
        assert value("stream_prune_scored_rows_sum") > value("stream_prune_scored_rows_count")
        refused = batched.post(URL, json={"inputs": [{**good()[0], "data": [None]}, *good()[1:2]]})
        assert refused.status_code == 400
