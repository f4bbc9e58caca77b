"""Which versions there are, which have been champion, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stream_prune.errors import RunError
from stream_prune.registry.client import RUN_TAG, STEP_TAG, connect, quoted, step
from stream_prune.registry.config import RegistryConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION_TAG = "stream_prune.champion"
"""How many champions there had been when it became one, itself included, and when (ISO 8601)."""
REFUSED_TAG = "stream_prune.refused"
"""Why a gate has refused it."""
ROLLED_BACK_TAG = "stream_prune.rolled_back"
"""When it was rolled back; it becomes champion again only by hand."""


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes:
        number: of the version.
        run, step: which it is; empty where it was registered by others.
        aliases: that point to it.
        reign: it was the so manieth champion; 0: never one.
        since: when it became champion (ISO 8601).
        refused: the gate's reason, empty if none has refused it.
        rolled_back: when it was (ISO 8601), else empty.
        created: ms since 1970 (UTC).
        tags: all of them.
    """

    number: int
    run: str
    step: str
    aliases: tuple[str, ...]
    reign: int
    since: str
    refused: str
    rolled_back: str
    created: int
    tags: dict[str, str]


def versions(config: RegistryConfig, client: MlflowClient | None = None) -> list[Version]:
    """All versions of the model, oldest first.

    Raises:
        RunError: there is no such model, or the registry doesn't answer.
    """
    client = client or connect(config)
    with step(f"listing the versions of model {config.model!r}", config):
        aliases = client.get_registered_model(config.model).aliases
        found: list[Any] = []
        token = None
        while True:
            where = f"name = {quoted(config.model)}"
            page = client.search_model_versions(where, page_token=token)
            found += page
            token = page.token
            if not token:
                break
    return sorted((_version(entry, aliases) for entry in found), key=lambda v: v.number)


def _version(entry: Any, aliases: dict[str, Any]) -> Version:
    tags = dict(entry.tags)
    reign, _, since = tags.get(CHAMPION_TAG, "0 ").partition(" ")
    return Version(
        number=int(entry.version),
        run=tags.get(RUN_TAG, ""),
        step=tags.get(STEP_TAG, ""),
        aliases=tuple(sorted(a for a, v in aliases.items() if str(v) == str(entry.version))),
        reign=int(reign),
        since=since,
        refused=tags.get(REFUSED_TAG, ""),
        rolled_back=tags.get(ROLLED_BACK_TAG, ""),
        created=int(entry.creation_timestamp),
        tags=tags,
    )


def champion_of(known: Sequence[Version], alias: str) -> Version | None:
    """The version that the alias points to."""
    return next((version for version in known if alias in version.aliases), None)


def superseded(known: Sequence[Version], number: int, run: str, learned: int) -> Version | None:
    """The version that keeps another from becoming champion by itself: a later one has been.

    Later is one with a greater number, or a later step of the same run. So a publication that is
    resumed late never moves the alias back, nor undoes a rollback.

    Args:
        known: all versions.
        number: of the version in question.
        run, learned: its run and step.
    """
    for version in reversed(known):
        later = version.number > number or (version.run == run and int(version.step) > learned)
        if version.number != number and version.reign and later:
            return version
    return None


def crown(
    client: MlflowClient, config: RegistryConfig, known: Sequence[Version], number: int
) -> None:
    """Point the champion's alias to a version, and remember that it was champion."""
    reign = 1 + max((version.reign for version in known), default=0)
    with step(f"setting alias {config.alias!r} of model {config.model!r}", config):
        client.set_registered_model_alias(config.model, config.alias, str(number))
        client.set_model_version_tag(config.model, str(number), CHAMPION_TAG, f"{reign} {now()}")


def earlier_champion(known: Sequence[Version], config: RegistryConfig) -> tuple[Version, Version]:
    """The champion, and the one before it that has not been rolled back.

    Raises:
        RunError: there is no champion, or none before it.
    """
    current = champion_of(known, config.alias)
    if current is None:
        raise RunError(
            f"{config.tracking_uri}: model {config.model!r} has no {config.alias}: nothing to roll "
            "back; promote a version by its number"
        )
    before = [
        version
        for version in known
        if version.reign and not version.rolled_back and version.number != current.number
        if version.reign < current.reign or not current.reign
    ]
    if not before:
        raise RunError(
            f"{config.tracking_uri}: model {config.model!r}: no champion before version "
            f"{current.number} is left to roll back to; promote a version by its number"
        )
    return current, max(before, key=lambda version: version.reign)


def now() -> str:
    """The time, ISO 8601 (UTC)."""
    return datetime.now(UTC).isoformat(timespec="seconds")
