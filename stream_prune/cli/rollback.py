"""``stream-prune rollback``: back to the champion before."""

from __future__ import annotations

import typer

from stream_prune.cli.registered_model import ModelOf, OptionalTrackingUri, registry_of


def rollback(model: ModelOf, tracking_uri: OptionalTrackingUri = None) -> None:
    """Point the champion's alias back to the champion before this one.

    That one is fetched first: digests verified, its example scored. The version rolled back becomes
    champion again only by hand (promote); a second call goes one further back.

    Example:

        stream-prune rollback runs/quickstart/runs/adaptive
    """
    from stream_prune.registry.promote import roll_back

    registry = registry_of(model, tracking_uri)
    before, after = roll_back(registry)
    typer.echo(
        f"{registry.tracking_uri}: {registry.model}@{registry.alias} is version {after} again "
        f"(it was {before}), verified"
    )
