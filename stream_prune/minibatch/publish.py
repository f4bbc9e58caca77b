"""Files that appear whole, durably and once: the ground on which the folder log stands."""

from __future__ import annotations

import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_prune.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FLUSHES = 8


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an operating system's error into a RunError that names the file."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Draft:
    """Bytes that lie in ``file`` until they get their name, ``path``."""

    file: Path
    path: Path

    def discard(self) -> None:
        """Remove the draft; what got its name keeps it."""
        self.file.unlink(missing_ok=True)

    def link(self) -> bool:
        """Give the bytes their name; False if that is taken or the draft has been removed.

        Nothing is ever overwritten: link(2) fails on an existing name. The entry in the folder is
        durable only after :func:`sync_folder`.

        Raises:
            RunError: the operating system can't.
        """
        with told(self.path):
            try:
                self.path.hardlink_to(self.file)
            except FileExistsError:
                return False
            except FileNotFoundError:
                if self.path.parent.exists() and not self.file.exists():
                    return False
                raise
        return True


def draft(path: Path, data: bytes, *, temporary: Path, owner: str) -> Draft:
    """Write ``data`` for ``path``: whole from the first moment that it has that name.

    Args:
        path: the name it is to get.
        data: all of it.
        temporary: a folder of the same file system.
        owner: what the draft's own name starts with.

    Raises:
        RunError: it can't be written; nothing is left.
    """
    made = Draft(temporary / f"{owner}.{uuid.uuid4().hex}", path)
    with told(path):
        try:
            with made.file.open("xb") as file:
                file.write(data)
        except OSError:
            made.discard()
            raise
    return made


def sync_files(drafts: Sequence[Draft]) -> bool:
    """Make the bytes of drafts durable; False if one has been removed, by whoever took over.

    Several at once: a disk takes many flushes together in little more than the time of one.

    Raises:
        RunError: the operating system can't.
    """
    if len(drafts) < 2:
        return all(map(_sync_file, drafts))
    with ThreadPoolExecutor(min(_FLUSHES, len(drafts))) as pool:
        return all(list(pool.map(_sync_file, drafts)))


def _sync_file(draft: Draft) -> bool:
    with told(draft.path):
        try:
            handle = os.open(draft.file, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return True


def publish(path: Path, data: bytes, *, temporary: Path, owner: str) -> bool:
    """Create ``path`` with ``data``, whole and durable; False if somebody else was first.

    That is: the name is taken, or whoever took over has removed this owner's draft.

    Raises:
        RunError: the file can't be written; there is then no file of that name by this call.
    """
    made = draft(path, data, temporary=temporary, owner=owner)
    try:
        return sync_files([made]) and made.link()
    finally:
        made.discard()


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


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a small file whole and durably, over what was there before.

    For what may change, unlike anything that a commit names. Each has one writer at a time.

    Raises:
        RunError: it can't be written.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with draft.open("x", encoding="utf-8") as file:
            file.write(json.dumps(dict(value)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    sync_folder(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`replace_json` wrote.

    Raises:
        RunError: it can't be read.
    """
    with told(path):
        text = path.read_text(encoding="utf-8")
    try:
        value: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise RunError(f"{path}: damaged: {error}: remove the file") from None
    return value
