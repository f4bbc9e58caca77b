"""A row that nothing can be learned from, with the reason and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UNDECODABLE, INVALID, LATE = "undecodable", "invalid", "late"


@dataclass(frozen=True)
class Letter:
    """One row: (partition, offset) is its key; ``record`` is the row as it was read.

    ``kind`` is the counter that the row falls under: undecodable, invalid or late.
    """

    partition: int
    offset: int
    kind: str
    reason: str
    record: dict[str, Any] | str

    def to_json(self, source: str) -> dict[str, Any]:
        """Plain values; ``row`` counts the rows of the file from 1 (a CSV header is none)."""
        record = self.record
        if isinstance(record, dict):
            record = {name: _plain(value) for name, value in record.items()}
        return {
            "source": source,
            "partition": self.partition,
            "offset": self.offset,
            "row": self.offset + 1,
            "kind": self.kind,
            "reason": self.reason,
            "record": record,
        }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, float) and value - value == 0 else str(value)
