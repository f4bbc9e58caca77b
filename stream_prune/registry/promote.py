"""Moving the champion's alias by hand: to a version that is whole, and back to the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_prune.registry.client import connect, step
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.download import downloaded
from stream_prune.registry.history import (
    REFUSED_TAG,
    ROLLED_BACK_TAG,
    Version,
    crown,
    earlier_champion,
    now,
    versions,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


def promote(config: RegistryConfig, version: str) -> None:
    """Make a version champion, older or refused though it may be: fetched and verified first.

    Raises:
        RunError: there is no such version, it is not whole, or the registry doesn't answer.
    """
    client = connect(config)
    with downloaded(client, config, version):
        pass
    known = versions(config, client)
    own = next(v for v in known if v.number == int(version))
    _clear(client, config, own)
    crown(client, config, known, own.number)


def roll_back(config: RegistryConfig) -> tuple[int, int]:
    """Point the champion's alias to the champion before: fetched and verified first.

    The present champion becomes one again only by hand; a second call goes one further back.

    Returns:
        The versions from and to which the alias has moved.

    Raises:
        RunError: there is none to go back to, it is not whole, or the registry doesn't answer.
    """
    client = connect(config)
    current, target = earlier_champion(versions(config, client), config)
    with downloaded(client, config, str(target.number)):
        pass
    with step(f"rolling back model {config.model!r}", config):
        client.set_model_version_tag(config.model, str(current.number), ROLLED_BACK_TAG, now())
        client.set_registered_model_alias(config.model, config.alias, str(target.number))
    return current.number, target.number


def _clear(client: MlflowClient, config: RegistryConfig, version: Version) -> None:
    """Take back what kept a version from being champion."""
    for tag in (REFUSED_TAG, ROLLED_BACK_TAG):
        if tag in version.tags:
            with step(f"promoting version {version.number}", config):
                client.delete_model_version_tag(config.model, str(version.number), tag)
