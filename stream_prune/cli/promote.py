"""``stream-prune promote``: make a registered version champion by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_prune.cli.registered_model import ModelOf, OptionalTrackingUri, registry_of


def promote(
    model: ModelOf,
    version: Annotated[
        str | None, typer.Argument(help="Its number; by default the candidate's.")
    ] = None,
    tracking_uri: OptionalTrackingUri = None,
) -> None:
    """Point the champion's alias to a version, also to one that a gate has refused.

    It is fetched first: digests verified, its example scored.

    Example:

        stream-prune promote runs/quickstart/runs/adaptive 1
    """
    from stream_prune.errors import ConfigError
    from stream_prune.registry.promote import promote as promote_version
    from stream_prune.registry.pull import resolve

    registry = registry_of(model, tracking_uri)
    if version is not None and not version.isdecimal():
        raise ConfigError(f"VERSION = {version!r}: must be a number, see stream-prune list")
    number = version or resolve(registry, registry.candidate)
    promote_version(registry, number)
    typer.echo(
        f"{registry.tracking_uri}: {registry.model}@{registry.alias} is version {number}, verified"
    )
