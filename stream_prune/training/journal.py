"""The run's journal: the trainer's only output between two checkpoints."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stream_prune.errors import RunError
from stream_prune.stateful import State

CLOCK = "clock"
"""The one field whose content may differ between two runs of the same thing: wall-clock times."""


class Journal:
    """Appends JSON lines, each keyed (run, step, kind) and flushed at once.

    Everything but the field :data:`CLOCK` is a function of the log, the configuration and the seed.
    The length up to which the file is valid is checkpointed; :meth:`load_state_dict` cuts the file
    back to it, and the lines that a killed run wrote after its checkpoint are written again.

    Arguments: ``path`` of the file, ``run``, the name that every line carries.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run
        self._step = -1
        self._kinds: set[str] = set()
        self._file = path.open("ab")

    def write(self, step: int, kind: str, record: Mapping[str, Any]) -> None:
        """Append one line; a number that is not finite becomes null.

        Raises:
            ValueError: the key was written before, or ``step`` goes backwards.
            RunError: the file can't be written.
        """
        if step < self._step or (step == self._step and kind in self._kinds):
            raise ValueError(f"journal: a second line for step {step}, kind {kind!r}")
        if step > self._step:
            self._step, self._kinds = step, set()
        self._kinds.add(kind)
        line = {"run": self.run, "step": step, "kind": kind, **_plain(record)}
        try:
            self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from error

    def sync(self) -> None:
        """Bring every line to the disk; a checkpoint that names their end comes after."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        self._file.close()

    def state_dict(self) -> State:
        return {
            "position": self._file.tell(),
            "step": self._step,
            "kinds": json.dumps(sorted(self._kinds)),
        }

    def load_state_dict(self, state: State) -> None:
        """Cut the file back to the checkpoint.

        Raises:
            RunError: the file is shorter than the checkpoint says: lines were lost.
        """
        position, step = state["position"], state["step"]
        assert isinstance(position, int)
        assert isinstance(step, int)
        self._cut(position)
        self._step, self._kinds = step, set(json.loads(str(state["kinds"])))

    def restart(self) -> None:
        """Empty the file: there is no checkpoint, the run begins anew."""
        self._cut(0)
        self._step, self._kinds = -1, set()

    def _cut(self, position: int) -> None:
        size = self.path.stat().st_size
        if size < position:
            raise RunError(
                f"{self.path}: holds {size} bytes, the checkpoint expects {position}: lines were "
                "lost; restore the file or start a new run folder"
            )
        self._file.truncate(position)
        self._file.seek(position)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal, also of one that is being written (a last half line is left).

    Raises:
        RunError: a line is no JSON.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                record: dict[str, Any] = json.loads(line)
            except ValueError as error:
                raise RunError(f"{path}: line {number} is no JSON: {error}") from None
            yield record


def _plain(value: Any) -> Any:
    """JSON's own types of what a record holds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
