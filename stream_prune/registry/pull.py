"""A registered model as a verified artifact folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stream_prune.artifact import read_manifest, verify
from stream_prune.artifact.folder import appearing
from stream_prune.errors import ConfigError, RunError
from stream_prune.registry.client import connect, step
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.download import DIGEST_TAG, downloaded, move


@dataclass(frozen=True)
class Pulled:
    """A model's version and the folder of its artifact; ``new`` if it was not there before."""

    version: str
    folder: Path
    new: bool


def resolve(config: RegistryConfig, alias: str | None = None) -> str:
    """The version that an alias points to now (2 ms on SQLite: cheap to poll).

    Raises:
        RunError: there is no such model or alias, or the registry doesn't answer.
    """
    alias = alias or config.alias
    client = connect(config)
    with step(f"looking up {config.model}@{alias}", config):
        return str(client.get_model_version_by_alias(config.model, alias).version)


def pull(
    config: RegistryConfig,
    destination: str | Path,
    *,
    alias: str | None = None,
    version: str | None = None,
) -> Pulled:
    """Fetch a version into ``destination/<model>/<version>``, verified; whole or not at all.

    A version that is already there, and is whole, is not fetched again.

    Args:
        config: names the registry and the model.
        destination: holds one folder per model and version.
        alias: which version; None: ``config.alias``.
        version: which version, by number, instead of an alias.

    Raises:
        ConfigError: alias and version are both given.
        RunError: the registry doesn't answer, the version doesn't exist, or isn't whole.
    """
    if alias is not None and version is not None:
        raise ConfigError(f"alias {alias!r} and version {version!r}: give one of them")
    client = connect(config)
    if version is None:
        version = resolve(config, alias)
    folder = Path(destination) / config.model / version
    with step(f"looking up version {version} of model {config.model!r}", config):
        registered = client.get_model_version(config.model, version)
    if folder.exists():
        verify(folder)
        expected = registered.tags.get(DIGEST_TAG)
        if expected is not None and read_manifest(folder).digest != expected:
            raise RunError(f"{folder}: is another model than version {version}; remove it")
        return Pulled(version, folder, new=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder.parent}: cannot be made: {error.strerror}") from error
    with downloaded(client, config, version, folder.parent) as scorer, appearing(folder) as draft:
        move(scorer.folder, draft)
    return Pulled(version, folder, new=True)
