"""A published model arrives whole; whatever fails, the old champion stays."""

import json
import pickle
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import cloudpickle
import mlflow
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from small_model import raw_rows, trained

from serving.app import create_app
from serving.model_slot import ModelSlot
from stream_prune.artifact import Scorer, read_manifest, verify
from stream_prune.errors import ConfigError, RunError
from stream_prune.registry import publish as publishing
from stream_prune.registry.client import connect
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.publish import publish
from stream_prune.registry.pull import pull, resolve


@pytest.fixture(scope="session")
def first(model, tmp_path_factory):
    return model.write(tmp_path_factory.mktemp("one") / "model", step=1)


@pytest.fixture(scope="session")
def second(model, tmp_path_factory):
    return trained(seed=2).write(tmp_path_factory.mktemp("two") / "model", step=2)


@pytest.fixture(scope="session")
def published_database(first, empty_database, tmp_path_factory):
    """A registry in which ``first`` is the champion."""
    path = tmp_path_factory.mktemp("published") / "mlflow.db"
    shutil.copy(empty_database, path)
    publish(first, RegistryConfig(f"sqlite:///{path}", "ctr"))
    return path


@pytest.fixture
def with_champion(registry_config, published_database):
    """A copy of that registry; the champion's files stay where they were uploaded to."""
    database = registry_config.tracking_uri.removeprefix("sqlite:///")
    shutil.copy(published_database, database)
    return registry_config


@pytest.fixture
def at_mlflow(registry_config, monkeypatch):
    """MLflow's own process-wide addresses, which only its own loading needs."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(registry_config.tracking_uri)
    yield
    mlflow.set_tracking_uri(before)


def versions(registry_config):
    return sorted(
        int(v.version)
        for v in connect(registry_config).search_model_versions(f"name = '{registry_config.model}'")
    )


def test_what_is_pulled_is_what_was_published(first, registry_config, tmp_path):
    assert publish(first, registry_config) == "1"
    pulled = pull(registry_config, tmp_path / "models")
    assert (pulled.version, pulled.folder, pulled.new) == ("1", tmp_path / "models/ctr/1", True)
    assert verify(pulled.folder) == read_manifest(first)
    assert resolve(registry_config) == resolve(registry_config, "candidate") == "1"


def test_mlflow_loads_and_scores_the_champion_by_itself(first, model, with_champion, at_mlflow):
    loaded = mlflow.pyfunc.load_model("models:/ctr@champion")
    raw = raw_rows(20, seed=4)
    frame = raw.to_pandas()
    np.testing.assert_allclose(loaded.predict(frame), model.score(raw), atol=2e-6)
    frame["distance"] = [1000] * 20  # integers where the example had doubles
    assert len(loaded.predict(frame)) == 20
    assert loaded.input_example.columns.tolist() == list(model.spec.inputs)


def test_people_read_in_mlflow_what_a_version_is_and_where_it_is_from(first, with_champion):
    client = connect(with_champion)
    told = client.get_registered_model("ctr").description
    assert "stream-prune serve models:/ctr@champion" in told
    version = client.get_model_version("ctr", "1")
    about = "Run run, step 1, learned until 1970-01-01 01:00 UTC; prequential NE 0.9000; "
    assert version.description.startswith(about)
    assert "embedding rows as float32." in version.description
    assert version.tags["stream_prune.git"]
    experiment = client.get_experiment_by_name(with_champion.experiment).experiment_id
    (logged,) = client.search_logged_models([experiment])
    assert logged.tags["mlflow.note.content"] == version.description
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "ctr", "version": "1"}]
    assert "mlflow.note.content" not in version.tags
    assert logged.params["head"] == "DLRMHead"
    assert int(logged.params["artifact_bytes"]) == read_manifest(first).size
    assert {metric.key: metric.value for metric in logged.metrics}["published/ne"] == 0.9


def test_publishing_again_gives_the_same_version(first, registry_config):
    assert publish(first, registry_config) == publish(first, registry_config) == "1"
    assert versions(registry_config) == [1]


def test_a_newer_model_takes_the_alias_and_an_older_one_never_takes_it_back(
    first, second, with_champion, tmp_path
):
    assert (publish(first, with_champion), publish(second, with_champion)) == ("1", "2")
    assert resolve(with_champion) == "2"
    assert publish(first, with_champion) == "1"
    assert resolve(with_champion) == "2"
    assert pull(with_champion, tmp_path, version="1").version == "1"


def test_the_same_step_with_other_weights_is_refused(first, with_champion, tmp_path):
    other = trained(seed=7, steps=1).write(tmp_path / "other", step=1)
    with pytest.raises(RunError, match="run 'run', step 1, with other weights"):
        publish(other, with_champion)


STEPS = (
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_model_version",
    "get_model_version",
    "get_model_version_download_uri",
    "set_registered_model_alias",
    "set_model_version_tag",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_at_any_step_keeps_the_champion_and_the_next_call_goes_on(
    second, with_champion, monkeypatch, step
):
    error = KeyboardInterrupt() if STEPS.index(step) % 2 else OSError(28, "No space left")

    def fails(*args, **kwargs):
        raise error

    expected = RunError if isinstance(error, OSError) else KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, step, fails)
        with pytest.raises(expected):
            publish(second, with_champion)
    assert resolve(with_champion) == ("2" if step == "set_model_version_tag" else "1")
    assert publish(second, with_champion) == "2"
    assert resolve(with_champion) == resolve(with_champion, "candidate") == "2"
    assert versions(with_champion) == [1, 2]


def test_a_failure_between_the_aliases_keeps_the_champion(
    first, second, with_champion, monkeypatch
):
    def fails(*args):
        raise RunError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "crown", fails)
        with pytest.raises(RunError, match="gone"):
            publish(second, with_champion)
    assert (resolve(with_champion), resolve(with_champion, "candidate")) == ("1", "2")
    assert publish(second, with_champion) == resolve(with_champion) == "2"


def damaged_store(registry_config, version):
    """Change one byte of a registered model's tables, as a bad disk or a bad neighbour would."""
    place = connect(registry_config).get_model_version_download_uri("ctr", version)
    (tables,) = Path(place).glob("artifacts/*/tables.safetensors")
    content = bytearray(tables.read_bytes())
    content[-1] ^= 1
    tables.write_bytes(content)


def test_a_model_damaged_in_the_registry_is_never_promoted_or_pulled(
    first, second, with_champion, tmp_path, monkeypatch
):
    register = publishing.register

    def damaging(*args):
        version = register(*args)
        damaged_store(with_champion, version.version)
        return version

    monkeypatch.setattr(publishing, "register", damaging)
    with pytest.raises(RunError, match=r"tables\.safetensors has changed"):
        publish(second, with_champion)
    assert resolve(with_champion) == "1"
    with pytest.raises(RunError, match=r"tables\.safetensors has changed"):
        pull(with_champion, tmp_path / "models", version="2")
    assert list((tmp_path / "models/ctr").iterdir()) == []


def test_another_model_in_the_place_of_the_registered_one_is_refused(
    first, second, registry_config, tmp_path
):
    publish(first, registry_config)
    place = connect(registry_config).get_model_version_download_uri("ctr", "1")
    (artifact,) = Path(place).glob("artifacts/*")
    shutil.rmtree(artifact)
    shutil.copytree(second, artifact)
    with pytest.raises(RunError, match=r"holds the digest .* was registered"):
        pull(registry_config, tmp_path)


def test_a_second_pull_fetches_nothing(first, with_champion, tmp_path, monkeypatch):
    pull(with_champion, tmp_path)

    def forbidden(*args, **kwargs):
        raise AssertionError("downloaded again")

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", forbidden)
    assert not pull(with_champion, tmp_path).new


def test_a_pulled_folder_that_changed_since_is_named(first, with_champion, tmp_path):
    folder = pull(with_champion, tmp_path).folder
    (folder / "model.json").write_text("{}")
    with pytest.raises(RunError, match=r"model\.json has changed"):
        pull(with_champion, tmp_path)


def test_pulling_scoring_and_serving_unpickle_nothing(
    first, with_champion, tmp_path, at_mlflow, monkeypatch
):
    def forbidden(*args, **kwargs):
        raise AssertionError("unpickled")

    for owner in (pickle, cloudpickle):
        for name in ("load", "loads"):
            monkeypatch.setattr(owner, name, forbidden)
    monkeypatch.setattr(pickle, "Unpickler", forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    folder = pull(with_champion, tmp_path).folder
    Scorer.load(folder).check_example()
    mlflow.pyfunc.load_model("models:/ctr@champion").predict(raw_rows(2).to_pandas())
    slot = ModelSlot("ctr")
    slot.load(folder, "1")
    rows = {"dataframe_records": raw_rows(2).to_pylist()}
    answer = TestClient(create_app(slot)).post("/invocations", json=rows)
    assert answer.status_code == 200, answer.text


def test_what_is_registered_holds_no_pickle(first, with_champion):
    place = connect(with_champion).get_model_version_download_uri("ctr", "1")
    suffixes = {path.suffix for path in Path(place).rglob("*.*")}
    assert suffixes <= {".json", ".yaml", ".txt", ".py", ".safetensors", ".onnx", ".arrow"}


def test_names_that_are_not_there_are_named(registry_config, first, tmp_path):
    with pytest.raises(RunError, match=r"looking up ctr@champion failed"):
        resolve(registry_config)
    publish(first, registry_config)
    with pytest.raises(RunError, match=r"looking up version 9 of model 'ctr' failed"):
        pull(registry_config, tmp_path, version="9")
    with pytest.raises(RunError, match=r"looking up ctr@shadow failed"):
        pull(registry_config, tmp_path, alias="shadow")
    with pytest.raises(ConfigError, match="give one of them"):
        pull(registry_config, tmp_path, alias="champion", version="1")


def test_a_registry_that_is_away_is_named(first, registry_config, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = replace(registry_config, tracking_uri="http://127.0.0.1:9")
    with pytest.raises(RunError, match=r"http://127\.0\.0\.1:9: connecting to MLflow failed: "):
        publish(first, away)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tracking_uri": "./mlruns"}, "registry.tracking_uri = './mlruns': must be a server"),
        ({"registry_uri": "file:///x"}, "registry.registry_uri = 'file:///x'"),
        ({"model": "a/b"}, "registry.model = 'a/b'"),
        ({"model": ""}, "registry.model = ''"),
        ({"candidate": "champion"}, "are both 'champion'"),
        ({"ready_timeout_s": 0}, "registry.ready_timeout_s = 0"),
    ],
)
def test_a_configuration_that_cannot_work_is_named(change, message):
    with pytest.raises(ConfigError, match=message):
        RegistryConfig(**{"tracking_uri": "sqlite:///x.db", "model": "m", **change})


def test_publishing_is_quiet_and_leaves_nothing_in_the_working_directory(
    first, tmp_path, empty_database
):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    (tmp_path / "cwd").mkdir()
    program = f"""
        from stream_prune.registry.config import RegistryConfig
        from stream_prune.registry.publish import publish
        from stream_prune.registry.pull import pull
        config = RegistryConfig("sqlite:///{tmp_path}/mlflow.db", "ctr")
        print(publish({str(first)!r}, config), pull(config, {str(tmp_path / "p")!r}).version)
        import os
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        cwd=tmp_path / "cwd",
    )
    assert (done.stdout, done.stderr) == ("1 1\n", "")
    assert list((tmp_path / "cwd").iterdir()) == []
