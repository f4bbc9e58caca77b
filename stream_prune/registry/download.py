"""A registered version's artifact, brought into a clean folder and checked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stream_prune.artifact import Scorer, drafts
from stream_prune.artifact.format import MANIFEST
from stream_prune.errors import RunError
from stream_prune.registry.client import step
from stream_prune.registry.config import RegistryConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "stream_prune.digest"


@contextmanager
def downloaded(
    client: MlflowClient, config: RegistryConfig, version: str, beside: Path | None = None
) -> Iterator[Scorer]:
    """A version's artifact in a temporary folder: digests verified, example scored.

    Args:
        client: of the registry in ``config``.
        config: names the model.
        version: of the model.
        beside: where the temporary folder is made; None: where the system keeps them.

    Raises:
        RunError: it can't be fetched, is not whole, or is not what was registered.
    """
    import mlflow.artifacts

    what = f"version {version} of model {config.model!r}"
    with drafts.draft(".stream-prune-pull.", beside) as folder:
        with step(f"downloading {what}", config):
            expected = client.get_model_version(config.model, version).tags.get(DIGEST_TAG)
            # A place, not models:/..., which MLflow would look up at its process-wide addresses.
            place = client.get_model_version_download_uri(config.model, version)
            got = mlflow.artifacts.download_artifacts(
                place,
                dst_path=str(folder),
                tracking_uri=config.tracking_address,
                registry_uri=config.registry_address,
            )
        found = sorted(Path(got).glob(f"artifacts/*/{MANIFEST}"))
        if len(found) != 1:
            raise RunError(f"{what} holds no stream_prune artifact; it was registered by others")
        scorer = Scorer.load(found[0].parent)
        if expected is not None and scorer.manifest.digest != expected:
            raise RunError(
                f"{what} holds the digest {scorer.manifest.digest[:12]}, but {expected[:12]} was "
                "registered; don't use it: publish it again"
            )
        scorer.check_example()
        yield scorer


def move(source: Path, target: Path) -> None:
    """Move a folder's files into another folder of the same file system or not."""
    for path in source.iterdir():
        shutil.move(path, target / path.name)
