"""A folder that appears whole, on disk to the last byte, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_prune.artifact.drafts import draft
from stream_prune.errors import ConfigError, RunError


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A draft beside ``folder`` that becomes ``folder`` when the block ends without an error.

    Drafts that a killed process has left there are removed.

    Raises:
        ConfigError: ``folder`` exists.
        RunError: it can't be written.
    """
    if folder.exists():
        raise ConfigError(f"{folder}: exists already: name a folder that doesn't, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with draft(f".{folder.name}.", folder.parent) as made:
            yield made
            made.chmod(0o755)
            for path in (*made.iterdir(), made):
                _sync(path)
            made.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
