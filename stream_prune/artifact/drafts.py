"""Temporary folders that a killed process leaves behind, and that the next one removes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_YOUNG_S = 10.0
"""A folder as young as this may belong to a process that is about to lock it."""


@contextmanager
def draft(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A folder ``parent/<prefix>...`` while the block runs; its like without a process are removed.

    The process holds a lock on its folder, which ends with the process however that ends.

    Args:
        prefix: of the folder's name.
        parent: where it is made; None: where the system keeps temporary files.

    Raises:
        OSError: it can't be made.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_abandoned(prefix, parent)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(prefix: str, parent: Path) -> None:
    for path in parent.glob(f"{prefix}*"):
        try:
            if time.time() - path.stat().st_mtime < _YOUNG_S:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # it has just gone, or is no folder
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:  # its process lives
            continue
        finally:
            os.close(handle)
