"""Which registered model a command means: that of a run, of a configuration file, or by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from stream_prune.registry.config import RegistryConfig

ModelOf = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run folder or a configuration file that names it, or its name with --tracking-uri.",
    ),
]
OptionalTrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow, where MODEL is a name: http://host:5000 or sqlite:///path/mlflow.db",
        show_default=False,
    ),
]


def registry_of(model: str, tracking_uri: str | None) -> RegistryConfig:
    """The registry, model name and aliases that the arguments mean.

    Raises:
        ConfigError: the file names no registry, or a name comes without an address.
    """
    from stream_prune.cli.config import load
    from stream_prune.cli.job import JOB
    from stream_prune.registry.config import RegistryConfig

    path = Path(model)
    file = path / JOB if (path / JOB).is_file() else path
    if file.is_file():
        registry = load(file).registry
        if registry is None:
            raise ConfigError(
                f"{file}: registry: is missing: say where models are (tracking_uri, model)"
            )
        return registry
    if path.is_dir():
        raise ConfigError(f"{path}: is no run folder of stream-prune: there is no {JOB} in it")
    if tracking_uri is None:
        raise ConfigError(
            f"{model}: is no file and no run folder; if it is a model's name, say where: "
            "--tracking-uri (or MLFLOW_TRACKING_URI)"
        )
    return RegistryConfig(tracking_uri=tracking_uri, model=model)
