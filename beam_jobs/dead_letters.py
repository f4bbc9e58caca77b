"""An event that nothing can be learned from, with the reason and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from beam_jobs.kafka_records import Original

UNDECODABLE, INVALID, LATE, DUPLICATES = "undecodable", "invalid", "late", "duplicates"
UNMATCHED = "unmatched"


@dataclass(frozen=True)
class Letter:
    """One row: (partition, offset) is its key; ``record`` is the row as it was read.

    ``kind`` is the counter that the row falls under: undecodable, invalid, late, duplicates or,
    of clicks, unmatched.
    """

    partition: int
    offset: int
    kind: str
    reason: str
    record: dict[str, Any] | str | Original

    @property
    def place(self) -> str:
        """The row within its partition, as people count: a file's from 1, a topic's by offset."""
        if isinstance(self.record, Original):
            return f"offset {self.offset}"
        return f"row {self.offset + 1}"

    def to_json(self, source: str) -> dict[str, Any]:
        """Plain values; ``row`` counts the rows of a file from 1 (a CSV header is none)."""
        found = {
            "source": source,
            "partition": self.partition,
            "offset": self.offset,
            "kind": self.kind,
            "reason": self.reason,
        }
        record = self.record
        if isinstance(record, Original):
            return {**found, **record.to_json(), "job_version": job_version()}
        if isinstance(record, dict):
            record = {name: _plain(value) for name, value in record.items()}
        return {**found, "row": self.offset + 1, "record": record}


@cache
def job_version() -> str:
    """The version of this program."""
    return version("stream-prune")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, float) and value - value == 0 else str(value)
