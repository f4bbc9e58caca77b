"""A folder that appears whole, on disk to the last byte, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_prune.errors import ConfigError, RunError


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A draft beside ``folder`` that becomes ``folder`` when the block ends without an error.

    Raises:
        ConfigError: ``folder`` exists.
        RunError: it can't be written.
    """
    if folder.exists():
        raise ConfigError(f"{folder}: exists already: name a folder that doesn't, or remove it")
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        yield draft
        draft.chmod(0o755)
        for path in (*draft.iterdir(), draft):
            _sync(path)
        draft.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
