"""Upload and version of an artifact: found by run and step, made where they are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_prune.artifact import Scorer
from stream_prune.artifact.delta import write_delta
from stream_prune.artifact.drafts import draft
from stream_prune.errors import RunError
from stream_prune.registry import described
from stream_prune.registry.client import (
    RUN_TAG,
    STEP_TAG,
    experiment_id,
    mlflow_run,
    quoted,
    step,
)
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.download import BASE_TAG, DIGEST_TAG, base_for, downloaded, place
from stream_prune.registry.package import package

if TYPE_CHECKING:
    from mlflow import MlflowClient

WEIGHTS_TAG = "stream_prune.weights"
WORTHWHILE = 0.7
"""A delta of more than this share of the whole is not worth a second fetch."""


def registered(client: MlflowClient, config: RegistryConfig, scorer: Scorer) -> Any:
    """The version of this run and step, None if there is none.

    Raises:
        RunError: it has other weights.
    """
    lineage = scorer.card.lineage
    where = f"name = {quoted(config.model)} and {_tagged(scorer)}"
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


def register(client: MlflowClient, config: RegistryConfig, scorer: Scorer, deltas: int = 0) -> Any:
    """Upload the model and create a version, which has its tags from the first moment.

    A complete upload that a killed process has left is taken; a part of one is deleted. Of
    ``deltas``: see :func:`stream_prune.registry.publish.publish`.
    """
    with step(f"registering model {config.model!r}", config):
        _create_model(client, config)
    experiment = experiment_id(client, config)
    run = mlflow_run(client, config, scorer.card.lineage.run)
    logged = _uploaded(client, config, scorer, experiment) or _upload(
        client, config, scorer, experiment, run, deltas
    )
    with step(f"registering model {config.model!r}", config):
        return client.create_model_version(
            config.model,
            logged.artifact_location,  # models:/ID would be looked up at process-wide addresses
            run_id=run,
            tags={key: value for key, value in logged.tags.items() if key != described.NOTE_TAG},
            description=described.version_sentence(scorer),
            model_id=logged.model_id,
            await_creation_for=0,
        )


def link(client: MlflowClient, config: RegistryConfig, scorer: Scorer, number: str) -> None:
    """Let the upload's page in MLflow link to its version."""
    experiment = experiment_id(client, config)
    with step(f"registering model {config.model!r}", config):
        for logged in client.search_logged_models([experiment], _tagged(scorer)):
            if logged.name == config.model:
                tag = described.version_tag(config.model, number)
                client.set_logged_model_tags(logged.model_id, tag)


def _uploaded(client: MlflowClient, config: RegistryConfig, scorer: Scorer, experiment: str) -> Any:
    """The upload of this run and step that has no version yet; parts of one are deleted."""
    whole = None
    with step(f"looking for an upload of model {config.model!r}", config):
        for logged in client.search_logged_models([experiment], _tagged(scorer)):
            if logged.name != config.model:
                continue
            same = logged.tags.get(WEIGHTS_TAG) == scorer.manifest.weights_digest
            if whole is None and same and str(logged.status) == "READY":
                whole = logged
            else:
                client.delete_logged_model(logged.model_id)
    return whole


def _upload(
    client: MlflowClient,
    config: RegistryConfig,
    scorer: Scorer,
    experiment: str,
    run: str,
    deltas: int,
) -> Any:
    lineage, manifest = scorer.card.lineage, scorer.manifest
    tags = {
        RUN_TAG: lineage.run,
        STEP_TAG: str(lineage.step),
        DIGEST_TAG: manifest.digest,
        WEIGHTS_TAG: manifest.weights_digest,
        **described.lineage_tags(scorer),
    }
    with draft("stream-prune-upload.") as folder, step(f"uploading model {config.model!r}", config):
        path, content, whole_at = folder / "model", scorer.folder, None
        base = base_for(client, config, deltas)
        if base is not None:
            content = folder / "artifact"
            with downloaded(client, config, str(base.number)) as whole:
                size = write_delta(scorer.folder, whole.folder, content)
            if size > WORTHWHILE * scorer.manifest.size:
                content = scorer.folder
            else:
                tags[BASE_TAG] = base.tags[DIGEST_TAG]
                whole_at = place(client, config, str(base.number))
        package(scorer, path, content, whole_at)
        known = described.parameters(scorer)
        note = {described.NOTE_TAG: described.version_sentence(scorer)}
        logged = client.create_logged_model(
            experiment, config.model, source_run_id=run, tags=tags | note, params=known
        )
        client.log_batch(run, metrics=described.metrics(scorer, logged.model_id))
        client.log_model_artifacts(logged.model_id, str(path))
        return client.finalize_logged_model(logged.model_id, "READY")


def _tagged(scorer: Scorer) -> str:
    """A filter for this run and step."""
    lineage = scorer.card.lineage
    return (
        f"tags.`{RUN_TAG}` = {quoted(lineage.run)} and tags.`{STEP_TAG}` = {quoted(lineage.step)}"
    )


def _create_model(client: MlflowClient, config: RegistryConfig) -> None:
    from mlflow.exceptions import MlflowException

    try:
        sentence = described.model_sentence(config.model, config.alias)
        client.create_registered_model(config.model, description=sentence)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
