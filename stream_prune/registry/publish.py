"""Publishing: the alias moves last, onto a version that was fetched back and found whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from stream_prune.artifact import Scorer
from stream_prune.errors import RunError
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.registry.client import connect, step
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.download import downloaded
from stream_prune.registry.gates import Gates, Refused, check_cost, check_quality
from stream_prune.registry.history import (
    REFUSED_TAG,
    Version,
    champion_of,
    crown,
    superseded,
    versions,
)
from stream_prune.registry.register import link, register, registered

if TYPE_CHECKING:
    from mlflow import MlflowClient

DONE_TAG = "stream_prune.published"


def publish(
    artifact: str | Path,
    config: RegistryConfig,
    gates: Gates | None = None,
    log: MiniBatchLog | None = None,
    deltas: int = 0,
) -> str:
    """Register an artifact as an MLflow model and point the aliases at it.

    Upload, wait until it is ready, fetch it back into a clean folder, verify the digests, score the
    example, hold it against the gates, set the candidate's alias, and at last the champion's.
    Whatever fails before that leaves the old champion in place, and the next call takes up where
    this one stopped: upload and version are found by their run and step, so nothing is registered
    twice. A call after a complete one only returns the version. No alias moves back: where a later
    version has been champion already, this one is registered and nothing more.

    Args:
        artifact: an artifact folder; its lineage names run and step.
        config: the registry, the model's name, the aliases.
        gates: what it must hold to become champion; None: nothing.
        log: the mini-batch log it was trained on: the champion is scored on its last windows.
        deltas: so many versions after a whole one are uploaded as what has changed since it.

    Returns:
        The version's number.

    Raises:
        Refused: a gate keeps it from becoming candidate; it stays registered, with the reason.
        RunError: a step failed, by name; or this run and step were published with other weights.
    """
    scorer = Scorer.load(artifact)
    scorer.check_example()
    client = connect(config)
    version = registered(client, config, scorer) or register(client, config, scorer, deltas)
    number = str(version.version)
    if version.tags.get(DONE_TAG) == "true":
        return number
    link(client, config, scorer, number)
    _ready(client, config, number)
    with downloaded(client, config, number) as fetched:
        known = versions(config, client)
        lineage = scorer.card.lineage
        if superseded(known, int(number), lineage.run, lineage.step) is None:
            champion = champion_of(known, config.alias)
            _gate(client, config, fetched, champion, gates, log)
            _point(client, config, known, int(number))
    with step(f"marking version {number} as published", config):
        client.set_model_version_tag(config.model, number, DONE_TAG, "true")
    return number


def _gate(
    client: MlflowClient,
    config: RegistryConfig,
    fetched: Scorer,
    champion: Version | None,
    gates: Gates | None,
    log: MiniBatchLog | None,
) -> None:
    """Hold a version against the gates; what they say stays with it in the registry."""
    lineage = fetched.card.lineage
    where = f"run {lineage.run!r}, step {lineage.step}"
    version = registered(client, config, fetched)
    number = str(version.version)
    try:
        if gates is not None:
            check_cost(gates, fetched)
            if champion is not None and champion.number != int(number):
                with downloaded(client, config, str(champion.number)) as reigning:
                    check_quality(gates, fetched, reigning, log)
    except Refused as refusal:
        with step(f"marking version {number} as refused", config):
            client.set_model_version_tag(config.model, number, REFUSED_TAG, str(refusal)[:4_000])
        kept = f"version {champion.number} stays" if champion else "there is no champion yet"
        raise Refused(
            f"{config.model} version {number} ({where}) is not promoted: {refusal} "
            f"({config.alias}: {kept})"
        ) from None
    if REFUSED_TAG in version.tags:
        with step(f"marking version {number} as accepted", config):
            client.delete_model_version_tag(config.model, number, REFUSED_TAG)


def _ready(client: MlflowClient, config: RegistryConfig, number: str) -> None:
    """Wait for a version to become ready."""
    deadline = time.monotonic() + config.ready_timeout_s
    while True:
        with step(f"waiting for version {number} of model {config.model!r}", config):
            status = client.get_model_version(config.model, number).status
        if status == "READY":
            return
        if status == "FAILED_REGISTRATION" or time.monotonic() > deadline:
            raise RunError(
                f"{config.tracking_uri}: version {number} of model {config.model!r} is {status} "
                f"(waited up to {config.ready_timeout_s:g} s); see the server's log"
            )
        time.sleep(0.05)


def _point(client: MlflowClient, config: RegistryConfig, known: list[Version], number: int) -> None:
    """The candidate's alias, and then the champion's."""
    with step(f"setting alias {config.candidate!r} of model {config.model!r}", config):
        client.set_registered_model_alias(config.model, config.candidate, str(number))
    own = next((version for version in known if version.number == number), None)
    if own is None or config.alias not in own.aliases or not own.reign:
        crown(client, config, known, number)
