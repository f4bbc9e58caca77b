"""A run's publications: what was built, what became of it, and what waits for the registry."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stream_prune.errors import RunError

PUBLICATIONS = "publications.jsonl"
"""In a run folder: a line for every artifact that was built to be published, and for its fate."""

BUILT, PUBLISHED, REFUSED, DROPPED, FAILED = "built", "published", "refused", "dropped", "failed"


@dataclass(frozen=True)
class Publication:
    """One line.

    Attributes:
        step: of the checkpoint.
        outcome: built (it waits), published, refused (by a gate), dropped (too many waited) or
            failed.
        why: it was built; or was refused, dropped, or failed.
        artifact: its folder in the run folder; empty if there is none.
        version: in the registry, once published.
        time: ISO 8601 (UTC).
    """

    step: int
    outcome: str
    why: str
    artifact: str
    version: str = ""
    time: str = ""


class Publications:
    """The file of a run folder; one process at a time writes it.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.path = run, run / PUBLICATIONS

    def lines(self) -> list[Publication]:
        """All lines, oldest first; a last one that was cut by a kill is left out.

        Raises:
            RunError: a line is none of this file.
        """
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                found.append(Publication(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise RunError(f"{self.path}: is damaged: {line[:80]!r} ({error})") from None
        return found

    def waiting(self) -> list[Publication]:
        """What was built and has no other fate yet, in order; the bounded spool."""
        pending: dict[int, Publication] = {}
        for line in self.lines():
            if line.outcome == BUILT:
                pending[line.step] = line
            else:
                pending.pop(line.step, None)
        return [pending[step] for step in sorted(pending)]

    def last_step(self) -> int:
        """The last step that was built; -1 before the first."""
        return max((line.step for line in self.lines()), default=-1)

    def add(self, line: Publication) -> None:
        """Append a line durably; a half line that a kill has left is cut off first.

        Raises:
            RunError: it can't be written.
        """
        try:
            with self.path.open("ab+") as file:
                file.seek(0)
                whole = file.read().rfind(b"\n") + 1
                file.truncate(whole)
                file.write(json.dumps(asdict(line)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from error

    def tidy(self) -> None:
        """Remove the artifacts whose fate is known, but for the newest one."""
        keep = {line.artifact for line in self.waiting()}
        lines = self.lines()
        keep |= {lines[-1].artifact} if lines else set()
        for line in lines:
            if line.artifact and line.artifact not in keep:
                shutil.rmtree(self.run / line.artifact, ignore_errors=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process publishes this run, and keep others out."""
        with self.path.with_name(f".{PUBLICATIONS}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
