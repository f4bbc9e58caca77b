"""How far a journal was read, through restarts of the reader and of the writer."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stream_prune.errors import RunError


@dataclass(frozen=True)
class Cursor:
    """What was sent of a journal, and to where.

    ``steps`` is the last step of every kind that was sent. A resumed run cuts its journal back and
    writes the same lines again; they are known by run, step and kind, and not sent twice.
    ``offset`` says where to read on, if the last line before it (``length`` bytes) still has the
    ``digest``; if not, the journal was cut back, and is read from its start. ``time`` is the last
    event time (ms), for lines that have none.
    """

    target: str
    steps: Mapping[str, int] = field(default_factory=dict)
    offset: int = 0
    length: int = 0
    digest: str = ""
    time: int = 0

    @classmethod
    def read(cls, path: Path, target: str) -> Cursor:
        """The stored cursor; a fresh one if there is none, or it is of another target.

        Raises:
            RunError: the file can't be read.
        """
        try:
            cursor = cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return cls(target)
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{path}: cannot be read: {error}; remove it, and the curves are sent again"
            ) from None
        return cursor if cursor.target == target else cls(target)

    def write(self, path: Path) -> None:
        """Store the cursor, whole or not at all.

        Raises:
            RunError: it can't be written.
        """
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("w") as file:
                json.dump(asdict(self), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error

    def past(self, record: Mapping[str, Any], line: bytes, end: int) -> Cursor:
        """The cursor after a line that ends at ``end`` bytes."""
        steps = {**self.steps, _key(record): int(record["step"])}
        time = int(record.get("window_end") or record.get("event_time") or self.time)
        return Cursor(self.target, steps, end, len(line), _digest(line), time)


@dataclass(frozen=True)
class NewLine:
    """A journal line not sent before, and the cursor once it is."""

    record: Mapping[str, Any]
    after: Cursor


def new_lines(journal: Path, cursor: Cursor) -> Iterator[NewLine]:
    """The whole lines after the cursor; a last line that is still being written waits.

    Without a journal there are none: its run has not begun.

    Raises:
        RunError: the journal can't be read, or a line is not one of a journal.
    """
    try:
        with journal.open("rb") as file:
            file.seek(_resume_at(file, cursor))
            for line in file:
                if not line.endswith(b"\n"):
                    return
                record = _record(journal, line)
                if int(record["step"]) > cursor.steps.get(_key(record), -1):
                    cursor = cursor.past(record, line, file.tell())
                    yield NewLine(record, cursor)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{journal}: cannot be read: {error.strerror}") from error


def _resume_at(file: Any, cursor: Cursor) -> int:
    file.seek(max(0, cursor.offset - cursor.length))
    return cursor.offset if _digest(file.read(cursor.length)) == cursor.digest else 0


def _record(journal: Path, line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
        _key(record), int(record["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{journal}: is no journal: {line[:80]!r} ({error!r})") from None
    return dict(record)


def _key(record: Mapping[str, Any]) -> str:
    return f"{record['run']} {record['kind']}"


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16] if line else ""
