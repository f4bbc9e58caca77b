"""A registered version's artifact, brought into a clean folder and checked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stream_prune.artifact import Scorer, drafts
from stream_prune.artifact.delta import DELTA, apply_delta, base_of
from stream_prune.artifact.format import MANIFEST
from stream_prune.errors import RunError
from stream_prune.registry.client import step
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.history import Version, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "stream_prune.digest"
BASE_TAG = "stream_prune.base"
"""Of a version that is a delta: the digest of the whole one that it goes with."""


@contextmanager
def downloaded(
    client: MlflowClient, config: RegistryConfig, version: str, beside: Path | None = None
) -> Iterator[Scorer]:
    """A version's artifact in a temporary folder: digests verified, example scored.

    A version that is a delta is put together with the one that it is a delta of.

    Args:
        client: of the registry in ``config``.
        config: names the model.
        version: of the model.
        beside: where the temporary folder is made; None: where the system keeps them.

    Raises:
        RunError: it can't be fetched, is not whole, or is not what was registered.
    """
    what = f"version {version} of model {config.model!r}"
    with drafts.draft(".stream-prune-pull.", beside) as folder:
        with step(f"downloading {what}", config):
            expected = client.get_model_version(config.model, version).tags.get(DIGEST_TAG)
        scorer = Scorer.load(_whole(client, config, version, folder))
        if expected is not None and scorer.manifest.digest != expected:
            raise RunError(
                f"{what} holds the digest {scorer.manifest.digest[:12]}, but {expected[:12]} was "
                "registered; don't use it: publish it again"
            )
        scorer.check_example()
        yield scorer


def _whole(client: MlflowClient, config: RegistryConfig, version: str, folder: Path) -> Path:
    """Fetch a version, and its base if it is a delta; returns the whole artifact's folder."""
    found = fetch(client, config, version, folder / "model")
    if not (found / DELTA).exists():
        return found
    wanted = base_of(found)
    known = [v for v in versions(config, client) if v.tags.get(DIGEST_TAG) == wanted]
    bases = [v for v in known if BASE_TAG not in v.tags]
    if not bases:
        raise RunError(
            f"version {version} of model {config.model!r} is a delta of the artifact "
            f"{wanted[:12]}, which is no longer registered: publish it again"
        )
    base = fetch(client, config, str(bases[0].number), folder / "base")
    apply_delta(found, base, folder / "whole")
    return folder / "whole"


def fetch(client: MlflowClient, config: RegistryConfig, version: str, folder: Path) -> Path:
    """Download a version as it was uploaded; returns the folder of its artifact, or delta.

    Raises:
        RunError: it can't be fetched, or was not registered by this project.
    """
    import mlflow.artifacts

    what = f"version {version} of model {config.model!r}"
    folder.mkdir()
    with step(f"downloading {what}", config):
        got = mlflow.artifacts.download_artifacts(
            place(client, config, version),
            dst_path=str(folder),
            tracking_uri=config.tracking_address,
            registry_uri=config.registry_address,
        )
    found = sorted(Path(got).glob(f"artifacts/*/{MANIFEST}"))
    if any(Path(got).rglob("recommender_model.py")):
        raise RunError(
            f"{what} is a recommender: weights and code, without tables and head; load it with "
            "mlflow.pyfunc.load_model"
        )
    if len(found) != 1:
        raise RunError(f"{what} holds no stream_prune artifact; it was registered by others")
    return found[0].parent


def place(client: MlflowClient, config: RegistryConfig, version: str) -> str:
    """Where a version's files are: models:/... MLflow would look up at process-wide addresses."""
    with step(f"downloading version {version} of model {config.model!r}", config):
        return str(client.get_model_version_download_uri(config.model, version))


def base_for(client: MlflowClient, config: RegistryConfig, deltas: int) -> Version | None:
    """The whole version that the next one may be a delta of; None if it is to be whole itself.

    Args:
        client: of the registry in ``config``.
        config: names the model.
        deltas: how many may follow a whole one.
    """
    if not deltas:
        return None
    known = [version for version in versions(config, client) if DIGEST_TAG in version.tags]
    whole = next((v for v in reversed(known) if BASE_TAG not in v.tags), None)
    if whole is None or sum(version.number > whole.number for version in known) >= deltas:
        return None
    return whole


def move(source: Path, target: Path) -> None:
    """Move a folder's files into another folder of the same file system or not."""
    for path in source.iterdir():
        shutil.move(path, target / path.name)
