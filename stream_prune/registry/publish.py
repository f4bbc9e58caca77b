"""Publishing: the alias moves last, onto a version that was fetched back and found whole."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stream_prune.artifact import Scorer
from stream_prune.errors import RunError
from stream_prune.registry.client import (
    RUN_TAG,
    STEP_TAG,
    connect,
    experiment_id,
    mlflow_run,
    quoted,
    step,
)
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.download import DIGEST_TAG, downloaded
from stream_prune.registry.package import package

if TYPE_CHECKING:
    from mlflow import MlflowClient

WEIGHTS_TAG = "stream_prune.weights"
DONE_TAG = "stream_prune.published"


def publish(artifact: str | Path, config: RegistryConfig) -> str:
    """Register an artifact as an MLflow model and point the aliases at it.

    Upload, wait until it is ready, fetch it back into a clean folder, verify the digests, score the
    example, set the candidate's alias, and at last the champion's. Whatever fails before that
    leaves the old champion in place, and the next call takes up where this one stopped: the version
    is found by its run and step, so nothing is registered twice. A call after a complete one only
    returns the version, and no alias ever moves back to an older version.

    Args:
        artifact: an artifact folder; its lineage names run and step.
        config: the registry, the model's name, the aliases.

    Returns:
        The version's number.

    Raises:
        RunError: a step failed, by name; or this run and step were published with other weights.
    """
    scorer = Scorer.load(artifact)
    scorer.check_example()
    client = connect(config)
    version = _registered(client, config, scorer) or _register(client, config, scorer)
    if version.tags.get(DONE_TAG) == "true":
        return str(version.version)
    number = _ready(client, config, str(version.version))
    with downloaded(client, config, number):
        pass
    _point(client, config, config.candidate, number)
    _point(client, config, config.alias, number)
    with step(f"marking version {number} as published", config):
        client.set_model_version_tag(config.model, number, DONE_TAG, "true")
    return number


def _registered(client: MlflowClient, config: RegistryConfig, scorer: Scorer) -> Any:
    """The version of this run and step, if there is one already."""
    lineage = scorer.card.lineage
    where = (
        f"name = {quoted(config.model)} and tags.`{RUN_TAG}` = {quoted(lineage.run)} "
        f"and tags.`{STEP_TAG}` = {quoted(lineage.step)}"
    )
    with step(f"looking for model {config.model!r}", config):
        found = client.search_model_versions(where, order_by=["version_number ASC"])
    if not found:
        return None
    if found[0].tags.get(WEIGHTS_TAG) != scorer.manifest.weights_digest:
        raise RunError(
            f"{config.tracking_uri}: version {found[0].version} of model {config.model!r} is run "
            f"{lineage.run!r}, step {lineage.step}, with other weights; publish under another run "
            "name, or delete that version"
        )
    return found[0]


def _register(client: MlflowClient, config: RegistryConfig, scorer: Scorer) -> Any:
    """Upload the model and create a version, which has its tags from the first moment."""
    lineage, manifest = scorer.card.lineage, scorer.manifest
    tags = {
        RUN_TAG: lineage.run,
        STEP_TAG: str(lineage.step),
        DIGEST_TAG: manifest.digest,
        WEIGHTS_TAG: manifest.weights_digest,
    }
    experiment = experiment_id(client, config)
    run = mlflow_run(client, config, lineage.run)
    with TemporaryDirectory() as folder, step(f"uploading model {config.model!r}", config):
        path = Path(folder) / "model"
        package(scorer, path)
        logged = client.create_logged_model(experiment, config.model, source_run_id=run, tags=tags)
        client.log_model_artifacts(logged.model_id, str(path))
        client.finalize_logged_model(logged.model_id, "READY")
    with step(f"registering model {config.model!r}", config):
        _create_model(client, config)
        return client.create_model_version(
            config.model,
            logged.artifact_location,  # models:/ID would be looked up at process-wide addresses
            run_id=run,
            tags=tags,
            model_id=logged.model_id,
            await_creation_for=0,
        )


def _create_model(client: MlflowClient, config: RegistryConfig) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(config.model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _ready(client: MlflowClient, config: RegistryConfig, number: str) -> str:
    """Wait for a version to become ready."""
    deadline = time.monotonic() + config.ready_timeout_s
    while True:
        with step(f"waiting for version {number} of model {config.model!r}", config):
            status = client.get_model_version(config.model, number).status
        if status == "READY":
            return number
        if status == "FAILED_REGISTRATION" or time.monotonic() > deadline:
            raise RunError(
                f"{config.tracking_uri}: version {number} of model {config.model!r} is {status} "
                f"(waited up to {config.ready_timeout_s:g} s); see the server's log"
            )
        time.sleep(0.05)


def _point(client: MlflowClient, config: RegistryConfig, alias: str, number: str) -> None:
    """Set an alias, unless it points to this version or a later one."""
    with step(f"setting alias {alias!r} of model {config.model!r}", config):
        current = client.get_registered_model(config.model).aliases.get(alias)
        if current is None or int(current) < int(number):
            client.set_registered_model_alias(config.model, alias, number)
