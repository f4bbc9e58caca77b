"""The records of a shard's commit sequence: a closed window, or a writer's claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MAPPINGS = ("closed_at", "resume", "watermark", "counts", "totals")


@dataclass(frozen=True)
class BatchRef:
    """A batch as its commit knows it.

    Attributes:
        index: place in the window.
        rows: how many.
        digest: SHA-256 (hex) of its bytes.
        position: where a log that is not a folder keeps it; says nothing of what it holds.
        size: its bytes.
    """

    index: int
    rows: int
    digest: str
    position: int | None = field(default=None, compare=False)
    size: int = field(default=0, compare=False)

    def to_list(self) -> list[int | str | None]:
        """Plain values."""
        return [self.index, self.rows, self.digest, self.position, self.size]


@dataclass(frozen=True)
class Claim:
    """A writer starts: from this record on, commits of smaller epochs are refused."""

    epoch: int

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json.dumps({"kind": "claim", "epoch": self.epoch}) + "\n"


@dataclass(frozen=True)
class Commit:
    """One closed window of one shard, committed once; a committed window never changes.

    Attributes:
        window_end: ms since 1970 (UTC), exclusive.
        shard: the shard that the window belongs to.
        writer_epoch: the claim under which it was written.
        fingerprint: of the feature specification.
        batches: the window's batches in order, possibly none.
        closed_at: per partition, the offset from which rows of this window are late.
        resume: per partition, the offset from which a restarted writer reads.
        watermark: per partition, the watermark (ms) as of its resume offset.
        state: name and digest of a join's snapshots.
        counts: rows by what became of them: good, late, duplicates, invalid, undecodable.
        totals: the same, windows and batches, of this and all commits of the shard before it: so
            whoever goes on with a log reads its last commits, however long it is.
        end: nothing follows in this shard.
    """

    window_end: int
    shard: int
    writer_epoch: int
    fingerprint: str
    batches: tuple[BatchRef, ...] = ()
    closed_at: Mapping[str, int] = field(default_factory=dict)
    resume: Mapping[str, int] = field(default_factory=dict)
    watermark: Mapping[str, int] = field(default_factory=dict)
    state: tuple[tuple[str, str], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    end: bool = False

    @property
    def rows(self) -> int:
        """Rows in all batches of the window."""
        return sum(ref.rows for ref in self.batches)

    @property
    def size(self) -> int:
        """Bytes of all batches of the window."""
        return sum(ref.size for ref in self.batches)

    def to_json(self) -> str:
        """The record as one line of JSON."""
        values = {"kind": "commit", **vars(self)}
        values["batches"] = [ref.to_list() for ref in self.batches]
        for name in _MAPPINGS:
            values[name] = dict(values[name])
        return json.dumps(values) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Commit:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: the text is no commit.
        """
        record = parse_record(text)
        if not isinstance(record, Commit):
            raise ValueError("a claim, not a commit")
        return record


def parse_record(text: str | bytes) -> Claim | Commit:
    """A record of the commit sequence.

    Raises:
        ValueError: the text is none.
    """
    values = json.loads(text)
    try:
        kind = values.pop("kind")
        if kind == "claim":
            return Claim(_integer(values["epoch"]))
        if kind == "commit":
            return _commit(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a record of a commit sequence: {error!r}") from None
    raise ValueError(f"not a record of a commit sequence: kind is {kind!r}")


def _commit(values: dict[str, Any]) -> Commit:
    values.setdefault("totals", {})
    for name in _MAPPINGS:
        values[name] = {str(k): _integer(v) for k, v in values[name].items()}
    for name in ("window_end", "shard", "writer_epoch"):
        values[name] = _integer(values[name])
    values["batches"] = tuple(
        BatchRef(
            _integer(index),
            _integer(rows),
            str(digest),
            None if not place or place[0] is None else _integer(place[0]),
            _integer(place[1]) if len(place) > 1 else 0,
        )
        for index, rows, digest, *place in values["batches"]
    )
    values["state"] = tuple((str(name), str(digest)) for name, digest in values["state"])
    if not isinstance(values["end"], bool):
        raise TypeError(f"end is {values['end']!r}")
    return Commit(**values)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no integer")
    return value
