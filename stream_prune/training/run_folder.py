"""The run folder: one trainer at a time, and always the same configuration."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream_prune.errors import ConfigError, RunError
from stream_prune.training.dataclass_reader import difference

CONFIG, JOURNAL, CHECKPOINTS, SUMMARY = (
    "config.json",
    "journal.jsonl",
    "checkpoints",
    "summary.json",
)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process; the lock goes with the process, however it ends.

    Raises:
        RunError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RunError(
                f"{folder}: another trainer (process {file.read() or '?'}) is running there: "
                "wait for it, or use another run folder"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def settle_config(folder: Path, config: Mapping[str, Any], free: frozenset[str]) -> None:
    """Write ``config.json``, or see that it says the same but for the ``free`` keys.

    Raises:
        ConfigError: naming the key that differs.
    """
    path = folder / CONFIG
    if not path.exists():
        write_json(path, config)
        return
    before = json.loads(path.read_text())
    found = difference(
        {key: value for key, value in before.items() if key not in free},
        {key: value for key, value in config.items() if key not in free},
    )
    if found is not None:
        key, old, new = found
        raise ConfigError(
            f"{key} = {new!r}: the run in {folder} was started with {old!r}: "
            "use that value, or another run folder"
        )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        RunError: it can't be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w") as file:
            json.dump(value, file, indent=2, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error


def reader_name(folder: Path) -> str:
    """What a log knows a run by: its folder's name, and a hash of where that is."""
    place = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()
    return f"{folder.name}-{place[:8]}"
