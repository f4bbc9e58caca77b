"""``stream-prune pull``: a registered model as a verified artifact folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.cli.options import TrackingUri
from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from stream_prune.registry.pull import Pulled


def pull(
    model: Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="Or NAME/VERSION.")],
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="The artifact goes to DEST/NAME/VERSION.")
    ],
    tracking_uri: TrackingUri,
) -> None:
    """Fetch a model from MLflow: digests verified, its example scored, whole or not at all.

    Example:

        stream-prune pull flights@champion models --tracking-uri sqlite:///runs/quickstart/mlflow.db
    """
    pulled = fetch(model, destination, tracking_uri)
    state = "verified" if pulled.new else "was there already, verified"
    typer.echo(f"{pulled.folder}: version {pulled.version}, {state}")


def fetch(model: str, destination: Path, tracking_uri: str) -> Pulled:
    """Pull ``NAME@ALIAS`` or ``NAME/VERSION``.

    Raises:
        ConfigError: it is neither.
    """
    from stream_prune.registry.config import RegistryConfig
    from stream_prune.registry.pull import pull as pull_version

    name, at, alias = model.partition("@")
    name, slash, version = name.partition("/")
    if bool(at) == bool(slash) or not (alias or version):
        raise ConfigError(f"model {model!r}: write NAME@ALIAS or NAME/VERSION")
    config = RegistryConfig(tracking_uri=tracking_uri, model=name)
    return pull_version(config, destination, alias=alias or None, version=version or None)
