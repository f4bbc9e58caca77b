"""A window that has closed: its rows, what a restart needs after its commit, its dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.dead_letters import DUPLICATES, Letter
from beam_jobs.decode import Decoded
from beam_jobs.windows import copies
from stream_prune.features import OFFSET, PARTITION


@dataclass(frozen=True)
class ClosedWindow:
    """A window that gets no more rows, and from where a restart goes on after its commit.

    Attributes:
        window_end: ms.
        rows: sorted by (event time, partition, offset); None if there are none.
        closed_at: per partition, the offset up to which rows have been read.
        resume: per partition, an offset at or before every row of the windows still open.
        watermark: per partition with a good row before its resume offset, the watermark there (ms).
        end: no window follows.
        letters: the copies of events that are among the rows.
        read: the rows as they were read, where a join asks for them.
        counts: rows by what else became of them.
        state: name and bytes of what a restart needs beside the offsets.
        forget: names of state that is needed no more.
    """

    window_end: int
    rows: pa.RecordBatch | None
    closed_at: dict[str, int]
    resume: dict[str, int]
    watermark: dict[str, int]
    end: bool
    letters: tuple[Letter, ...] = ()
    read: tuple[Decoded, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    state: tuple[tuple[str, bytes], ...] = ()
    forget: tuple[str, ...] = ()

    def told(
        self, rows: pa.RecordBatch, mask: npt.NDArray[np.bool_], kind: str, reason: str
    ) -> list[Letter]:
        """A letter for each row [B] where ``mask`` [B] holds, with the row as it was read."""
        chosen = rows.filter(pa.array(mask))
        places = zip(
            chosen.column(PARTITION).to_pylist(), chosen.column(OFFSET).to_pylist(), strict=True
        )
        return [_decoded_at(self.read, *place).letter(place[1], kind, reason) for place in places]


def without_copies(
    rows: pa.RecordBatch, chunks: Sequence[Decoded]
) -> tuple[pa.RecordBatch, tuple[Letter, ...]]:
    """The rows of a window without copies of events, and a letter for each copy."""
    repeated = copies(rows)
    if not repeated.any():
        return rows, ()
    copied = rows.filter(pa.array(repeated))
    letters = []
    for number, offset in zip(
        copied.column(PARTITION).to_pylist(), copied.column(OFFSET).to_pylist(), strict=True
    ):
        decoded = _decoded_at(chunks, number, offset)
        reason = "an event of the same key, which comes before it, is in the same window"
        letters.append(decoded.letter(offset, DUPLICATES, reason))
    return rows.filter(pa.array(~repeated)), tuple(letters)


def _decoded_at(chunks: Iterable[Decoded], partition: int, offset: int) -> Decoded:
    """The chunk that a row was read in."""
    return next(c for c in chunks if c.partition == partition and c.start <= offset < c.stop)
