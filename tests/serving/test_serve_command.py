"""`stream-prune serve` as a user runs it: a process that has neither torch nor MLflow."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import trustme
from requests_v2 import good

from stream_prune.registry.publish import publish

ROOT = Path(__file__).parents[2]
# What the process must never load; the process that asks MLflow is another one.
ALONE = """
import sys
for name in ("torch", "mlflow", "apache_beam"):
    sys.modules[name] = None
from stream_prune.cli.main import main
main()
"""


class Server:
    """A process that serves on a free port, and ends when the test does."""

    def __init__(self, *arguments, **client):
        self.process = subprocess.Popen(
            [sys.executable, "-c", ALONE, "serve", *map(str, arguments), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        said = self.process.stdout.readline()
        if " at http" not in said:
            self.process.kill()
            raise AssertionError(said + self.process.stderr.read())
        self.root = said.rpartition(" at ")[2].split()[0]
        self.client = httpx.Client(base_url=self.root, timeout=30, **client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        _, self.errors = self.process.communicate(timeout=60)
        assert self.process.returncode in (0, -signal.SIGTERM), self.errors
        assert "Traceback" not in self.errors


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def test_the_settings_in_configs_serve_an_artifact_folder(written):
    with Server(written, "--config", ROOT / "configs" / "serving.yaml") as server:
        answer = server.client.post("/v2/models/ctr/infer", json={"inputs": good()})
        assert answer.status_code == 200
        assert 0 < answer.json()["outputs"][0]["data"][0] < 1


def test_a_wrong_setting_is_named_with_its_file(written, tmp_path):
    (tmp_path / "a.yaml").write_text("serving: {limits: {rows: 0}}\n")
    command = [Path(sys.executable).with_name("stream-prune"), "serve", str(written)]
    done = subprocess.run(
        [*command, "--config", str(tmp_path / "a.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "serving.limits.rows = 0: must be more than 0" in done.stderr


def test_a_served_alias_is_followed_without_torch_or_mlflow_in_the_process(
    model, other, written, registry_config, tmp_path
):
    publish(written, registry_config)
    arguments = ("models:/ctr@champion", "--tracking-uri", registry_config.tracking_uri)
    more = ("--cache", tmp_path / "cache", "--set", "serving.following.every_s=0.2")
    with Server(*arguments, *more) as server:

        def version():
            answer = server.client.post("/v2/models/ctr/infer", json={"inputs": good()})
            assert answer.status_code == 200, answer.text
            return answer.json()["model_version"]

        assert version() == "1"
        publish(other, registry_config)
        until(lambda: version() == "2")
        rolled_back = server.client.post("/v2/repository/models/ctr/rollback")
        assert rolled_back.json() == {"name": "ctr", "version": "1"}
        time.sleep(0.5)  # some looks later it is still the one that was asked for
        assert version() == "1"
        loaded = server.client.post("/v2/repository/models/ctr/load")
        assert loaded.json() == {"name": "ctr", "version": "2"}
        assert version() == "2"


@pytest.fixture
def certificates(tmp_path):
    authority = trustme.CA()
    own, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    return tmp_path


def test_with_authorities_named_only_clients_with_a_certificate_are_answered(written, certificates):
    settings = {
        "certificate": "certificate.pem",
        "certificate_key": "key.pem",
        "client_authorities": "authority.pem",
    }
    changes = [
        f"--set=serving.access.{name}={certificates / file}" for name, file in settings.items()
    ]
    trusting = ssl.create_default_context(cafile=str(certificates / "authority.pem"))
    with Server(written, *changes, verify=trusting) as server:
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            server.client.get("/v2/health/live")
        known = ssl.create_default_context(cafile=str(certificates / "authority.pem"))
        known.load_cert_chain(str(certificates / "client.pem"))
        with httpx.Client(base_url=server.root, verify=known) as client:
            assert client.get("/v2/health/live").json() == {"live": True}


def test_keys_are_read_from_the_environment_and_an_empty_one_is_refused(written):
    command = [Path(sys.executable).with_name("stream-prune"), "serve", str(written)]
    done = subprocess.run(
        [*command, "--set", "serving.access.key_env=NO_KEYS_HERE"],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_KEYS_HERE": ""},
    )
    assert done.returncode == 2
    assert "access.key_env = 'NO_KEYS_HERE': this environment variable is not set" in done.stderr


def test_the_request_that_is_printed_works(written):
    with Server(written) as server:
        server.process.stdout.readline()
        tried = server.process.stdout.readline()
        body = tried[tried.index("-d '") + 4 : tried.rindex("'")]
        answer = server.client.post(
            "/v2/models/ctr/infer", content=body, headers={"content-type": "application/json"}
        )
        assert json.loads(answer.text)["outputs"][0]["shape"] == [1]
