"""By hand the champion's alias goes where it is told; by itself it never goes back."""

import pytest
from registered import renamed

from stream_prune.errors import ConfigError, RunError
from stream_prune.registry import address
from stream_prune.registry.client import connect, step
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.history import versions
from stream_prune.registry.promote import promote, roll_back
from stream_prune.registry.publish import DONE_TAG, publish
from stream_prune.registry.pull import resolve


@pytest.fixture(scope="module")
def models(written, tmp_path_factory):
    """One model as steps 1 to 5 of a run."""
    folder = tmp_path_factory.mktemp("models")
    return {n: renamed(written, folder / str(n), step=n) for n in range(1, 6)}


def test_a_rollback_goes_to_the_champion_before_and_further_back(models, registry_config):
    for number in (1, 2, 3):
        publish(models[number], registry_config)
    assert roll_back(registry_config) == (3, 2)
    assert resolve(registry_config) == "2"
    assert roll_back(registry_config) == (2, 1)
    with pytest.raises(RunError, match="no champion before version 1 is left"):
        roll_back(registry_config)
    assert [bool(v.rolled_back) for v in versions(registry_config)] == [False, True, True]
    assert publish(models[3], registry_config) == "3"  # complete already: changes nothing
    assert resolve(registry_config) == "1"
    publish(models[4], registry_config)
    assert resolve(registry_config) == "4"
    assert roll_back(registry_config) == (4, 1)


def test_a_publication_resumed_late_does_not_undo_a_rollback(models, registry_config):
    publish(models[1], registry_config)
    publish(models[2], registry_config)
    publish(models[3], registry_config)
    roll_back(registry_config)
    roll_back(registry_config)
    connect(registry_config).delete_model_version_tag("ctr", "2", DONE_TAG)  # as if killed there
    assert publish(models[2], registry_config) == "2"
    assert resolve(registry_config) == "1"


def test_an_older_step_published_late_is_registered_and_no_more(models, registry_config):
    publish(models[5], registry_config)
    assert publish(models[4], registry_config) == "2"
    assert resolve(registry_config) == resolve(registry_config, "candidate") == "1"


def test_a_promotion_by_hand_takes_back_a_rollback(models, registry_config):
    publish(models[1], registry_config)
    publish(models[2], registry_config)
    roll_back(registry_config)
    promote(registry_config, "2")
    assert resolve(registry_config) == "2"
    assert versions(registry_config)[1].rolled_back == ""
    assert roll_back(registry_config) == (2, 1)
    with pytest.raises(RunError, match="downloading version 9"):
        promote(registry_config, "9")


def test_versions_say_what_became_of_them(models, registry_config):
    for number in (1, 2):
        publish(models[number], registry_config)
    first, second = versions(registry_config)
    assert (first.run, first.step, first.reign, first.aliases) == ("run", "1", 1, ())
    assert (second.step, second.reign) == ("2", 2)
    assert second.aliases == ("candidate", "champion")
    assert second.since >= first.since > "2024"


def test_a_model_without_versions_cannot_be_rolled_back(registry_config):
    with pytest.raises(RunError, match="listing the versions of model 'ctr' failed"):
        roll_back(registry_config)


@pytest.mark.parametrize(
    ("uri", "way"),
    [
        ("postgresql://me:pw@db/mlflow", r"write \$\{env:NAME\}"),
        ("https://me:pw@mlflow.example", "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(uri, way):
    with pytest.raises(ConfigError, match=way) as error:
        RegistryConfig(tracking_uri=uri, model="m")
    assert "pw" not in str(error.value)


def test_a_named_secret_is_filled_in_and_never_shown(monkeypatch):
    config = RegistryConfig("postgresql://me:${env:DB_SECRET}@db/mlflow", "m")
    monkeypatch.setenv("DB_SECRET", "s/e:c")
    assert config.tracking_address == "postgresql://me:s%2Fe%3Ac@db/mlflow"
    with pytest.raises(RunError) as error, step("trying", config):
        raise OSError("cannot reach postgresql://me:s%2Fe%3Ac@db/mlflow with s/e:c")
    assert "s/e:c" not in str(error.value)
    assert "s%2Fe%3Ac" not in str(error.value)
    assert "${env:DB_SECRET}" in str(error.value)
    monkeypatch.delenv("DB_SECRET")
    with pytest.raises(ConfigError, match="environment variable DB_SECRET is not set"):
        address.filled(config.tracking_uri)
