"""Shared by all tests: what several rooms need, made once, and only when it is asked for."""

import shutil

import pytest
from hypothesis import settings

# Hypothesis says how to repeat a failure, and sets no time limit an example.
settings.register_profile("stream_prune", deadline=None, print_blob=True)
settings.load_profile("stream_prune")


@pytest.fixture(scope="session")
def model():
    """A small trained model, for tests that only read it."""
    from small_model import trained

    return trained()


@pytest.fixture(scope="session")
def written(model, tmp_path_factory):
    """The artifact of ``model``, for tests that only read it."""
    return model.write(tmp_path_factory.mktemp("artifact") / "model")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database; creating its tables takes seconds, so it is done once and copied."""
    from stream_prune.registry.client import connect
    from stream_prune.registry.config import RegistryConfig

    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    connect(RegistryConfig(f"sqlite:///{path}", "ctr"))
    return path


@pytest.fixture
def registry_config(tmp_path, empty_database):
    """A registry of the test's own: an SQLite file and a folder."""
    from stream_prune.registry.config import RegistryConfig

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return RegistryConfig(f"sqlite:///{tmp_path}/mlflow.db", "ctr")
