"""A file of JSON lines as a partition: rows are lines, counted from 0."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from beam_jobs.columnar_coder import columnar
from stream_prune.errors import RunError


@columnar
@dataclass(frozen=True)
class JsonLines:
    """Undecoded lines."""

    lines: tuple[bytes, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all lines."""
        return sum(map(len, self.lines))


class JsonFile:
    """Reads lines by row number; going on where the last read ended costs no search."""

    rows: int | None = None  # known only once every line was read
    schema = None  # each line has fields of its own

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size == 0:
            raise RunError(f"{path}: is empty (0 bytes): lines of JSON were expected")
        self._at = (0, 0)

    def read(self, offset: int, rows: int) -> tuple[JsonLines, int, bool] | None:
        """Up to ``rows`` rows from ``offset``, how many they are, and whether the file ends there.

        None if the file ends before ``offset``.
        """
        with self.path.open("rb") as file:
            here, position = self._at if self._at[0] <= offset else (0, 0)
            file.seek(position)
            for line in islice(file, offset - here):
                here += 1
                position += len(line)
            if here < offset:
                return None
            lines = list(islice(file, rows))
            position += sum(map(len, lines))
            ends = not file.read(1)
        self._at = (offset + len(lines), position)
        return JsonLines(tuple(lines)), len(lines), ends
