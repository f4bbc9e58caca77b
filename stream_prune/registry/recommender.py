"""Publishing a recommender of implicit feedback: weights and code, and no more than that.

Such a model has no tables and no head, so there is no ONNX graph, no scorer without torch and
nothing for ``stream-prune serve``; the version says so in a tag and in its description. It is an
MLflow model all the same: ``mlflow.pyfunc.load_model`` and MLflow's own server take it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stream_prune.artifact.drafts import draft
from stream_prune.errors import RunError
from stream_prune.registry.client import (
    RUN_TAG,
    STEP_TAG,
    connect,
    experiment_id,
    mlflow_run,
    prepare,
    quoted,
    step,
)
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.download import place
from stream_prune.registry.history import crown, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACT = "recommender"
KIND_TAG, FILES_TAG = "stream_prune.kind", "stream_prune.files"
NOTE = "weights (safetensors) and code: no split into tables and head, so no ONNX graph"
_REQUIRED = ("mlflow", "torch", "safetensors", "numpy", "pandas")

Scores = npt.NDArray[np.float32]


def publish_recommender(
    folder: str | Path,
    config: RegistryConfig,
    *,
    run: str,
    epoch: int,
    figures: Mapping[str, float],
    example: Mapping[str, list[Any]],
    scores: Scores,
) -> str:
    """Register a recommender's folder as an MLflow model and point the aliases at it.

    It is fetched back, its files are compared, and the example is scored by what was fetched,
    before an alias moves. Files that are registered already are not registered again.

    Args:
        folder: model.safetensors, model.py, model.json, and what else belongs to the model.
        config: the registry, the model's name, the aliases.
        run: name of the run, for its tag and its curves.
        epoch: that the model is of.
        figures: metrics of the MLflow run.
        example: columns of a few rows, as the published model takes them.
        scores: float32 [rows, items] of the example, by the model that was trained.

    Returns:
        The version's number.

    Raises:
        RunError: the registry refuses or does not answer, or what comes back is not what went.
    """
    folder, client = Path(folder), connect(config)
    digest = digest_of(folder)
    with step(f"looking for model {config.model!r}", config):
        where = f"name = {quoted(config.model)} and tags.`{FILES_TAG}` = {quoted(digest)}"
        found = client.search_model_versions(where)
    if found:
        number = str(found[0].version)
    else:
        tags = {RUN_TAG: run, STEP_TAG: str(epoch), KIND_TAG: ARTIFACT, FILES_TAG: digest}
        number = _register(client, config, folder, tags, run, figures, example)
    _verify(client, config, number, digest, example, scores)
    with step(f"setting aliases of model {config.model!r}", config):
        client.set_registered_model_alias(config.model, config.candidate, number)
    known = versions(config, client)
    own = next(each for each in known if each.number == int(number))
    if config.alias not in own.aliases:
        crown(client, config, known, own.number)
    return number


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        total.update(path.name.encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _register(
    client: MlflowClient,
    config: RegistryConfig,
    folder: Path,
    tags: dict[str, str],
    run: str,
    figures: Mapping[str, float],
    example: Mapping[str, list[Any]],
) -> str:
    from mlflow.exceptions import MlflowException

    experiment = experiment_id(client, config)
    run_id = mlflow_run(client, config, run)
    with draft("stream-prune-upload.") as drafted, step(f"uploading {config.model!r}", config):
        for name, value in figures.items():
            client.log_metric(run_id, name.replace("@", "_at_"), value, step=int(tags[STEP_TAG]))
        _package(drafted / "model", folder, example)
        logged = client.create_logged_model(experiment, config.model, run_id, tags=tags)
        client.log_model_artifacts(logged.model_id, str(drafted / "model"))
        logged = client.finalize_logged_model(logged.model_id, "READY")
        try:
            client.create_registered_model(config.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            config.model,
            logged.artifact_location,
            run_id=run_id,
            tags=tags,
            description=NOTE,
            model_id=logged.model_id,
            await_creation_for=0,
        )
        return str(made.version)


def _package(path: Path, folder: Path, example: Mapping[str, list[Any]]) -> None:
    prepare()
    import mlflow.pyfunc
    import pandas as pd  # type: ignore[import-untyped]
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    kinds = {"user": DataType.long, "items": Array(DataType.long)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on the type of an example's columns
        mlflow.pyfunc.save_model(
            path,
            python_model=str(Path(__file__).with_name("recommender_model.py")),
            artifacts={ARTIFACT: str(folder)},
            signature=ModelSignature(
                Schema([ColSpec(kinds[name], name) for name in example]),
                Schema([TensorSpec(np.dtype(np.float32), (-1, -1), "scores")]),
            ),
            input_example=pd.DataFrame(dict(example)),
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIRED],
        )


def _verify(
    client: MlflowClient,
    config: RegistryConfig,
    number: str,
    digest: str,
    example: Mapping[str, list[Any]],
    scores: Scores,
) -> None:
    """Fetch the version into a clean folder, compare its files, and score the example."""
    import mlflow.artifacts
    import mlflow.pyfunc
    import pandas as pd

    what = f"version {number} of model {config.model!r}"
    with draft(".stream-prune-pull.") as folder:
        with step(f"downloading {what}", config):
            got = mlflow.artifacts.download_artifacts(
                place(client, config, number),
                dst_path=str(folder),
                tracking_uri=config.tracking_address,
                registry_uri=config.registry_address,
            )
        (held,) = (path for path in (Path(got) / "artifacts").iterdir() if path.is_dir())
        if digest_of(held) != digest:
            raise RunError(f"{what} came back with other files than were sent: publish it again")
        with step(f"loading {what}", config):
            again = mlflow.pyfunc.load_model(str(got)).predict(pd.DataFrame(dict(example)))
        if np.shape(again) != scores.shape or not np.allclose(again, scores, rtol=1e-5, atol=1e-5):
            raise RunError(
                f"{what} scores its example unlike the model that was trained: it is not promoted"
            )
