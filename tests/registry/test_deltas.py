"""Versions that hold only what has changed arrive as the whole, everywhere."""

import mlflow
import pytest
from registered import renamed
from small_model import raw_rows, trained

from stream_prune.artifact import read_manifest, verify
from stream_prune.artifact.delta import DELTA
from stream_prune.errors import RunError
from stream_prune.registry.client import connect
from stream_prune.registry.download import BASE_TAG, fetch
from stream_prune.registry.history import versions
from stream_prune.registry.publish import publish
from stream_prune.registry.pull import pull, resolve


@pytest.fixture(scope="module")
def model():
    return trained(seed=5)


@pytest.fixture(scope="module")
def steps(model, tmp_path_factory):
    """A model, the same after a little learning, and that one under two more steps' names."""
    folder = tmp_path_factory.mktemp("steps")
    found = [model.write(folder / "1", step=1)]
    model.learn(raw_rows(4, seed=77))
    found.append(model.write(folder / "2", step=2))
    return found + [renamed(found[1], folder / str(n), step=n) for n in (3, 4)]


def test_deltas_arrive_as_the_whole_and_a_whole_one_follows_after_so_many(
    model, steps, registry_config, tmp_path, monkeypatch
):
    # What is small here is not a table but everything else; a delta is worthwhile all the same.
    monkeypatch.setattr("stream_prune.registry.register.WORTHWHILE", 1.0)
    for number, artifact in enumerate(steps, 1):
        assert publish(artifact, registry_config, deltas=2) == str(number)
        pulled = pull(registry_config, tmp_path / "models", version=str(number)).folder
        assert verify(pulled) == read_manifest(artifact)
        for path in artifact.iterdir():
            assert (pulled / path.name).read_bytes() == path.read_bytes()
    kinds = [BASE_TAG in version.tags for version in versions(registry_config)]
    assert kinds == [False, True, True, False]
    client = connect(registry_config)
    delta = fetch(client, registry_config, "3", tmp_path / "fetched")
    assert (delta / DELTA).exists()
    assert not (delta / "tables.safetensors").exists()
    assert resolve(registry_config) == "4"

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(registry_config.tracking_uri)
    try:
        loaded = mlflow.pyfunc.load_model("models:/ctr/3")
    finally:
        mlflow.set_tracking_uri(before)
    raw = raw_rows(9)
    assert loaded.predict(raw.to_pandas()) == pytest.approx(model.score(raw), abs=2e-6)

    client.delete_model_version("ctr", "1")
    with pytest.raises(RunError, match=r"is a delta of the artifact .* no longer registered"):
        pull(registry_config, tmp_path / "again", version="2")


def test_a_delta_that_saves_little_is_published_whole(steps, registry_config, monkeypatch):
    monkeypatch.setattr("stream_prune.registry.register.WORTHWHILE", 0.01)
    for artifact in steps[:2]:
        publish(artifact, registry_config, deltas=9)
    assert [BASE_TAG in version.tags for version in versions(registry_config)] == [False, False]
