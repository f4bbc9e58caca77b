"""A connection to MLflow: quiet, without telemetry, with errors that say what was being done."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stream_prune.errors import RunError
from stream_prune.registry import address, sqlite_file
from stream_prune.registry.config import RegistryConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_TAG = "stream_prune.run"
STEP_TAG = "stream_prune.step"

# Read by MLflow when it is imported or used; what the user has set stays.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # 7 would keep a user waiting for minutes
}


def prepare() -> None:
    """Make MLflow quiet; must come before the first import of it in this process."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


class RegistryAway(RunError):  # noqa: N818  a state to wait out
    """The registry does not answer, or not now: the same may go well later."""


_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
"""MLflow's codes of answers that will be the same next time."""


@contextmanager
def step(what: str, config: RegistryConfig) -> Iterator[None]:
    """Turn what MLflow and the network raise into a RunError that says what failed and where.

    Raises:
        RegistryAway: it may go well later.
        RunError: it was refused, and will be again.
    """
    prepare()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        reason = address.hidden(reason, config.tracking_uri, config.registry_uri or "")
        uris = dict.fromkeys((config.tracking_address, config.registry_address))
        ways = "".join(sqlite_file.way_out(uri, error) for uri in uris)
        kind = RunError if getattr(error, "error_code", None) in _REFUSALS else RegistryAway
        raise kind(f"{config.tracking_uri}: {what} failed: {reason}{ways}") from error


def connect(config: RegistryConfig) -> MlflowClient:
    """A client of the registry; an SQLite database is created if need be.

    Raises:
        RunError: the registry doesn't answer.
    """
    prepare()
    from mlflow import MlflowClient

    with step("connecting to MLflow", config):
        sqlite_file.create(config.tracking_address)
        sqlite_file.create(config.registry_address)
        client = MlflowClient(config.tracking_address, config.registry_address)
        client.search_experiments(max_results=1)
    return client


def experiment_id(client: MlflowClient, config: RegistryConfig) -> str:
    """The experiment's id; it is created if need be."""
    from mlflow.exceptions import MlflowException

    with step(f"looking for experiment {config.experiment!r}", config):
        found = client.get_experiment_by_name(config.experiment)
        if found is None:
            try:
                return str(client.create_experiment(config.experiment, config.store))
            except MlflowException:
                found = client.get_experiment_by_name(config.experiment)  # made by another process
                if found is None:
                    raise
        return str(found.experiment_id)


def mlflow_run(client: MlflowClient, config: RegistryConfig, run: str) -> str:
    """The id of the MLflow run that stands for a training run; it is created if need be."""
    experiment = experiment_id(client, config)
    with step(f"looking for run {run!r}", config):
        found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = {quoted(run)}", max_results=1)
        if found:
            return str(found[0].info.run_id)
        created = client.create_run(experiment, run_name=run, tags={RUN_TAG: run})
        return str(created.info.run_id)


def quoted(value: Any) -> str:
    """A literal of MLflow's filter language.

    Raises:
        RunError: it holds both kinds of quotes, which that language can't write.
    """
    text = str(value)
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    raise RunError(f"{text!r}: a name with both ' and \" can't be looked up in MLflow; rename it")
