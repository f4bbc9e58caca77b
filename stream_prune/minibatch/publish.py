"""Files that appear whole, durably and once: the ground on which the folder log stands."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stream_prune.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an operating system's error into a RunError that names the file."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}") from error


def publish(path: Path, data: bytes, *, temporary: Path, owner: str) -> bool:
    """Create ``path`` with ``data``, whole and durable; False if somebody else was first.

    That is: the name is taken, or whoever took over has removed this owner's draft.

    Nothing is ever overwritten: the bytes go to a file in ``temporary`` (same file system, name
    starts with ``owner``), which is then linked to its name, and link(2) fails on an existing name.
    The entry in the folder is durable only after :func:`sync_folder`.

    Raises:
        RunError: the file can't be written; there is then no file of that name by this call.
    """
    draft = temporary / f"{owner}.{uuid.uuid4().hex}"
    with told(path):
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return _link(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def _link(draft: Path, path: Path) -> bool:
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    except FileNotFoundError:
        if path.parent.exists() and not draft.exists():
            return False
        raise
    return True


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable.

    Raises:
        RunError: the operating system can't.
    """
    with told(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
