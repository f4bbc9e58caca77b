"""Only a model that was verified and tried is served, and a swap is one step."""

import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time

import grpc
import httpx
import pytest
from messages_v2 import request, scores
from requests_v2 import URL, good
from small_model import raw_rows

from serving.grpc_messages import MESSAGES, SERVICE
from serving.model_slot import ModelSlot
from stream_prune.errors import RunError


def test_a_loaded_model_is_live_and_the_one_before_it_is_kept(written, other):
    slot = ModelSlot("ctr")
    assert slot.live is None
    first = slot.load(written, "1")
    assert (slot.live, slot.previous) == (first, None)
    second = slot.load(other, "2")
    assert (slot.live, slot.previous) == (second, first)
    assert slot.roll_back() is first
    assert (slot.live, slot.previous) == (first, second)


def test_there_is_nothing_to_roll_back_to_at_first(written):
    slot = ModelSlot("ctr")
    with pytest.raises(RunError, match="no earlier version"):
        slot.roll_back()
    slot.load(written, "1")
    with pytest.raises(RunError, match="no earlier version"):
        slot.roll_back()


def test_a_damaged_model_is_never_served(written, other, tmp_path):
    slot = ModelSlot("ctr")
    live = slot.load(written, "1")
    damaged = shutil.copytree(other, tmp_path / "damaged")
    content = bytearray((damaged / "tables.safetensors").read_bytes())
    content[-2] ^= 64
    (damaged / "tables.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"tables\.safetensors has changed"):
        slot.load(damaged, "2")
    assert (slot.live, slot.previous) == (live, None)


def test_a_model_that_scores_its_example_otherwise_is_never_served(written, monkeypatch):
    slot = ModelSlot("ctr")
    monkeypatch.setattr(
        "stream_prune.artifact.scorer.Scorer.score", lambda self, columns: 0.5 * len(columns)
    )
    with pytest.raises(RunError, match="scores its example differently"):
        slot.load(written, "1")
    assert slot.live is None


def test_every_answer_during_swaps_belongs_to_the_version_it_names(written, other):
    slot = ModelSlot("ctr")
    raw = raw_rows(3)
    expected = {
        version: slot.load(folder, version).scorer.score(raw).tolist()
        for version, folder in (("1", written), ("2", other))
    }
    assert expected["1"] != expected["2"]
    stop, wrong, seen = threading.Event(), [], set()

    def ask():
        while not stop.is_set():
            served = slot.live
            seen.add(served.version)
            if served.scorer.score(raw).tolist() != expected[served.version]:
                wrong.append(served.version)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        slot.load(written, "1")
        slot.load(other, "2")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert seen == {"1", "2"}


def test_a_server_process_needs_no_torch_unpickles_nothing_and_answers(written):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        grpc_port = free.getsockname()[1]
    program = f"""
        import pickle, sys
        def forbidden(*args, **kwargs):
            raise AssertionError("unpickled")
        pickle.load = pickle.loads = pickle.Unpickler = forbidden
        for name in ("torch", "mlflow", "apache_beam"):
            sys.modules[name] = None
        from serving.app import create_app
        from serving.config import ServingConfig
        from serving.model_slot import ModelSlot
        from serving.server import listen, serve
        slot = ModelSlot("ctr")
        slot.load({str(written)!r}, "3")
        config = ServingConfig(grpc_port={grpc_port})
        serve(create_app(slot, config), listen("127.0.0.1", {port}), config)
    """
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/v2/models/ctr")
                break
            except httpx.ConnectError:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
        assert answer.json()["versions"] == ["3"]
        answer = httpx.post(f"http://127.0.0.1:{port}{URL}", json={"inputs": good()})
        assert answer.status_code == 200, answer.text
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            message = request(good()).SerializeToString()
            scored = MESSAGES["ModelInferResponse"].FromString(infer(message, timeout=30))
        assert scores(scored).tolist() == pytest.approx(answer.json()["outputs"][0]["data"])
    finally:
        server.terminate()
        assert server.wait(10) in (0, -15)
