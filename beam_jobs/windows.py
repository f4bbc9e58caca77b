"""Event-time windows as pure functions on record batches: assign, sort, cut.

Windows are half open, [end - length, end), and aligned to the epoch (ms, UTC).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.columnar_coder import columnar
from beam_jobs.decode import Decoded
from beam_jobs.validate import Validated
from stream_prune.features import EVENT_KEY, EVENT_TIME, OFFSET, PARTITION

NEVER = -(2**62)
"""An event time before all others; far from the ends of int64, so that it can be added to."""


def window_ends(times: npt.NDArray[np.int64], length_ms: int) -> npt.NDArray[np.int64]:
    """The end of the window of each event time [B] (ms).

    >>> window_ends(np.array([0, 9, 10]), 10).tolist()
    [10, 10, 20]
    """
    return (times // length_ms + 1) * length_ms


def greatest_before(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each row the greatest time of the rows before it [B]; NEVER for the first.

    >>> greatest_before(np.array([5, 3, 8])).tolist()[1:]
    [5, 5]
    """
    before = np.full(len(times), NEVER)
    np.maximum.accumulate(times[:-1], out=before[1:])
    return before


@columnar
@dataclass(frozen=True)
class Piece:
    """The rows [B] of a chunk that lie in one window, in the order of their offsets.

    ``ahead`` [B]: the greatest event time of the chunk's rows before each row (ms), or NEVER.
    """

    window_end: int
    rows: pa.RecordBatch
    ahead: npt.NDArray[np.int64]

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """The offset of each row [B]."""
        return np.asarray(self.rows.column(OFFSET).to_numpy())


@columnar
@dataclass(frozen=True)
class Windowed:
    """A chunk's good rows by window; ``greatest``: their greatest event time, or NEVER."""

    validated: Validated
    pieces: tuple[Piece, ...]
    greatest: int

    @property
    def decoded(self) -> Decoded:
        """The chunk before it was encoded."""
        return self.validated.decoded

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """The event time of each good row [B], in the order of their offsets."""
        return np.asarray(self.validated.rows.column(EVENT_TIME).to_numpy())

    @property
    def nbytes(self) -> int:
        """Bytes of the columns, raw and encoded."""
        return self.decoded.nbytes + sum(int(piece.rows.nbytes) for piece in self.pieces)


def assign(validated: Validated, length_ms: int) -> Windowed:
    """Split a chunk by window."""
    rows = validated.rows
    times = rows.column(EVENT_TIME).to_numpy()
    if not len(times):
        return Windowed(validated, (), NEVER)
    ends, ahead = window_ends(times, length_ms), greatest_before(times)
    if (np.diff(ends) < 0).any():
        order = np.argsort(ends, kind="stable")
        rows, ends, ahead = rows.take(pa.array(order)), ends[order], ahead[order]
    bounds = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(ends)]
    return Windowed(
        validated,
        tuple(Piece(int(ends[a]), rows.slice(a, b - a), ahead[a:b]) for a, b in pairwise(bounds)),
        int(times.max()),
    )


def jumps(
    times: npt.NDArray[np.int64], greatest: int, most_ms: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Rows [B] whose event time is more than ``most_ms`` after all before them, and by how much.

    A row that jumps does not count for those after it. The first row of a partition
    (``greatest`` is NEVER) has none before it and never jumps.

    >>> jumps(np.array([5, 90, 6, 40, 7]), 0, 30)[0].tolist()
    [False, True, False, True, False]
    """
    ahead = np.maximum(greatest_before(times), greatest)
    suspects = np.flatnonzero((times > ahead + most_ms) & (ahead != NEVER))
    bad, by = np.zeros(len(times), np.bool_), np.zeros(len(times), np.int64)
    if not len(suspects):
        return bad, by
    # From the first one on each decision hangs on those before it; such chunks are rare.
    first = int(suspects[0])
    reached = int(ahead[first])
    for row, time in enumerate(times[first:].tolist(), first):
        if time > reached + most_ms:
            bad[row], by[row] = True, time - reached
        else:
            reached = max(reached, time)
    return bad, by


def merge(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of a window in the one order that it has: by event time, partition, offset."""
    rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
    keys = [rows.column(name).to_numpy() for name in (OFFSET, PARTITION, EVENT_TIME)]
    order = np.lexsort(keys)
    if (order[1:] > order[:-1]).all():
        return rows
    return rows.take(pa.array(order))


def copies(rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Rows [B] of a window whose event key another row has that comes before them in the log.

    Of the rows with one key the one with the lowest (partition, offset) is no copy.
    """
    keys = [rows.column(name).to_numpy() for name in (OFFSET, PARTITION, EVENT_KEY)]
    order = np.lexsort(keys)
    repeated = np.zeros(len(order), np.bool_)
    repeated[order[1:]] = np.diff(keys[2][order]) == 0
    return repeated


def cut(rows: pa.RecordBatch, batch_rows: int) -> list[pa.RecordBatch]:
    """Mini-batches of ``batch_rows`` rows, the last one of what is left; by count only."""
    return [rows.slice(start, batch_rows) for start in range(0, rows.num_rows, batch_rows)]


class AssignChunk(beam.DoFn):  # type: ignore[misc]
    """Validated -> Windowed."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms

    def process(self, element: Validated) -> Iterator[Windowed]:
        yield assign(element, self._length_ms)


class AssignWindows(beam.PTransform):  # type: ignore[misc]
    """Validated chunks -> chunks split by event-time window."""

    def __init__(self, length_ms: int) -> None:
        super().__init__()
        self._length_ms = length_ms

    def expand(self, validated: Any) -> Any:
        return validated | (
            beam.ParDo(AssignChunk(self._length_ms))
            .with_input_types(Validated)
            .with_output_types(Windowed)
        )
