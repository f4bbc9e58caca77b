"""Killed at any step, over HTTP: the old champion stays, and the next start goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registered import renamed

from stream_prune.errors import RunError
from stream_prune.registry.client import connect
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.history import versions
from stream_prune.registry.publish import publish
from stream_prune.registry.pull import pull, resolve

# Every call of a publication that changes the registry; "#2": its second such call.
STEPS = (
    "create_logged_model",
    "log_batch",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_model_version",
    "set_logged_model_tags",
    "set_registered_model_alias",
    "set_registered_model_alias#2",
    "set_model_version_tag",
    "set_model_version_tag#2",
)
# Those that only the first publication of a run or a model makes.
FIRST = ("create_registered_model", "create_run")
CHANGES = ("create_", "log_", "finalize_", "set_", "update_", "delete_", "rename_", "transition_")
HERE = Path(__file__).parent
# The server's job queue, which nothing here uses, is seven processes more.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@pytest.fixture(scope="module")
def server(empty_database, tmp_path_factory):
    """A real MLflow server on SQLite that keeps the artifacts too."""
    folder = tmp_path_factory.mktemp("server")
    database = folder / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **QUIET},
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not _answers(f"{uri}/health"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def publisher():
    """Publishes in a process of its own, to be killed at a step; returns its exit code."""
    path = os.pathsep.join([str(HERE.parent), str(HERE), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, str(HERE / "killed_publisher.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )

    def run(artifact, config, step, after):
        job = {"artifact": str(artifact), "uri": config.tracking_uri, "model": config.model}
        process.stdin.write(json.dumps(job | {"step": step, "after": after}) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield run
    process.stdin.close()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def artifacts(written, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    return [renamed(written, folder / str(n), step=n) for n in (1, 2)]


# Killed after a step is killed before the next one, but for the last.
KILLS = [*((step, False) for step in STEPS), (STEPS[-1], True)]


@pytest.mark.parametrize(("step", "after"), KILLS)
def test_a_publisher_killed_at_any_step_is_gone_on_with(
    step, after, server, publisher, artifacts, tmp_path
):
    model = f"ctr-{step.replace('#', '-')}-{after}"  # a model, and a run, of the test's own
    config = RegistryConfig(server, model)
    first, second = (
        renamed(artifact, tmp_path / str(n), run=model) for n, artifact in enumerate(artifacts, 1)
    )
    assert publish(first, config) == "1"
    assert publisher(second, config, step, after) == -signal.SIGKILL

    pointed = after if step == "set_registered_model_alias#2" else step.startswith("set_model_v")
    assert resolve(config) == ("2" if pointed else "1")
    pull(config, tmp_path / "models")  # what serving does meanwhile: whole, and verified

    assert publish(second, config) == resolve(config) == resolve(config, "candidate") == "2"
    assert [version.number for version in versions(config)] == [1, 2]
    assert [version.reign for version in versions(config)] == [1, 2]
    client = connect(config)
    experiment = client.get_experiment_by_name(config.experiment).experiment_id
    mine = f"tags.`stream_prune.run` = '{model}'"
    left = client.search_logged_models([experiment], mine)
    assert len(left) == 2
    assert {str(logged.status) for logged in left} == {"READY"}
    links = [json.loads(logged.tags["mlflow.modelVersions"]) for logged in left]
    assert sorted(link["version"] for (link,) in links) == ["1", "2"]
    assert publisher(second, config, "", False) == 0  # complete: changes nothing
    assert len(versions(config)) == 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", FIRST)
def test_a_first_publication_killed_is_gone_on_with(
    step, after, server, publisher, artifacts, tmp_path
):
    model = f"first-{step}-{after}"
    config = RegistryConfig(server, model)
    artifact = renamed(artifacts[0], tmp_path / "m", run=model)
    assert publisher(artifact, config, step, after) == -signal.SIGKILL
    with pytest.raises(RunError, match="looking up"):
        resolve(config)
    assert publish(artifact, config) == resolve(config) == "1"
    client = connect(config)
    experiment = client.get_experiment_by_name(config.experiment).experiment_id
    assert len(client.search_runs([experiment], f"tags.`stream_prune.run` = '{model}'")) == 1


def test_no_call_that_changes_the_registry_is_left_out_above(
    artifacts, registry_config, monkeypatch
):
    made = []

    def heard(name, call):
        def calls(*args, **kwargs):
            made.append(name)
            return call(*args, **kwargs)

        return calls

    for name in (name for name in dir(MlflowClient) if name.startswith(CHANGES)):
        monkeypatch.setattr(MlflowClient, name, heard(name, getattr(MlflowClient, name)))
    publish(artifacts[0], registry_config)
    assert set(made) - {step.partition("#")[0] for step in STEPS} == {*FIRST, "create_experiment"}
    made.clear()
    publish(artifacts[1], registry_config)
    made.remove("create_registered_model")  # which the registry refuses: it is there
    numbered = [
        f"{name}#{made[:at].count(name) + 1}".removesuffix("#1") for at, name in enumerate(made)
    ]
    assert sorted(numbered) == sorted(STEPS)
