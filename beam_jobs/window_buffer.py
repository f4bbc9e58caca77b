"""The open windows of a shard: rows come in, closed windows go out.

What a window holds does not depend on how partitions are interleaved, on the size of chunks, or on
restarts. A row whose event time is more than a bound after those before it *in its own partition*
is refused, and moves no clock. A row is late when the greatest event time read before it *in its
own partition*, minus the out-of-orderness, has reached the end of its window; a window closes when
that holds for every partition that may still have rows for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.closed_window import ClosedWindow, without_copies
from beam_jobs.dead_letters import Letter
from beam_jobs.read_partition import OpenChunk, Partition
from beam_jobs.windows import NEVER, Piece, Windowed, assign, jumps, merge
from stream_prune.errors import RunError
from stream_prune.features import OFFSET
from stream_prune.minibatch.commit import Commit

_NONE = np.zeros(0, np.int64)

MOST_EMPTY = 100_000
"""Empty windows in a row that still pass for a pause; more of them mean a wrong event time."""


@dataclass(frozen=True)
class Refused:
    """Good rows of a chunk that are in no window.

    Attributes:
        late: offsets [L] of rows whose window had closed.
        jumped: offsets [J] of rows too far after those before them.
        by_ms: by how much [J].
    """

    late: npt.NDArray[np.int64]
    jumped: npt.NDArray[np.int64]
    by_ms: npt.NDArray[np.int64]


class WindowBuffer:
    """Collects rows until their window closes.

    Args:
        length_ms: length of a window.
        out_of_orderness_ms: taken from the greatest event time of a partition for its watermark.
        partitions: their numbers; more may come.
        max_jump_ms: how far, beyond the out-of-orderness, an event time may lie after the greatest
            before it in its partition.
        last: the commit after which to go on; None for the start.
        keyed: rows have an event key, of which a window keeps one.
        joined: a join takes what closes, and asks for the rows as they were read.
    """

    def __init__(
        self,
        length_ms: int,
        out_of_orderness_ms: int,
        partitions: Iterable[int],
        max_jump_ms: int,
        last: Commit | None = None,
        *,
        keyed: bool = False,
        joined: bool = False,
    ) -> None:
        self._length, self._slack = length_ms, out_of_orderness_ms
        self._most_ahead = max_jump_ms + out_of_orderness_ms
        self._keyed, self._joined = keyed and not joined, joined
        self._open: dict[int, list[tuple[pa.RecordBatch, OpenChunk]]] = {}
        self.open_rows = 0
        self.retaken = 0
        """Rows in windows that an earlier run had read, too."""
        self._closed_until = NEVER if last is None else last.window_end
        self.partitions = {number: Partition() for number in partitions}
        if last is not None:
            self._restore(last.closed_at, last.resume, last.watermark)

    def _restore(
        self, closed_at: Mapping[str, int], resume: Mapping[str, int], watermark: Mapping[str, int]
    ) -> None:
        for name, offset in resume.items():
            partition = self.partitions.setdefault(int(name), Partition())
            partition.offset, partition.handled = offset, closed_at[name]
            if name in watermark:
                partition.greatest = watermark[name] + self._slack

    def add_partition(self, number: int, offset: int) -> None:
        """A partition more, to be read from an offset."""
        self.partitions[number] = Partition(offset=offset)

    def add(self, chunk: Windowed) -> Refused:
        """Take the next chunk of a partition; returns which of its rows are in no window.

        Rows that were written or dead-lettered before a restart are passed over.

        Raises:
            ValueError: rows between the partition's last chunk and this one are missing.
        """
        decoded = chunk.decoded
        partition = self.partitions[decoded.partition]
        if decoded.start != partition.offset:
            raise ValueError(
                f"partition {decoded.partition}: rows [{partition.offset}, {decoded.start}) "
                "are missing"
            )
        chunk, jumped, by_ms = self._without_jumps(chunk, partition)
        record = OpenChunk(decoded.start, partition.greatest)
        if self._keyed or self._joined:
            record.decoded = decoded
        late = [self._add_piece(piece, partition, record, chunk.greatest) for piece in chunk.pieces]
        partition.offset = decoded.stop
        partition.greatest = max(partition.greatest, chunk.greatest)
        partition.ended |= decoded.ends
        if record.open_pieces:
            partition.chunks.append(record)
        return Refused(np.sort(np.concatenate([_NONE, *late])), jumped, by_ms)

    def _without_jumps(
        self, chunk: Windowed, partition: Partition
    ) -> tuple[Windowed, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        near = partition.greatest != NEVER
        near = near and chunk.greatest <= partition.greatest + self._most_ahead
        if near or chunk.validated.clocked:
            return chunk, _NONE, _NONE
        bad, by_ms = jumps(chunk.times, partition.greatest, self._most_ahead)
        if not bad.any():
            return chunk, _NONE, _NONE
        rows = chunk.validated.rows
        new = bad & (rows.column(OFFSET).to_numpy() >= partition.handled)
        kept = replace(chunk.validated, rows=rows.filter(pa.array(~bad)))
        offsets = rows.column(OFFSET).to_numpy()[new]
        return assign(kept, self._length), offsets, by_ms[new]

    def _add_piece(
        self, piece: Piece, partition: Partition, record: OpenChunk, greatest: int
    ) -> npt.NDArray[np.int64]:
        rows, late = piece.rows, _NONE
        reached = max(partition.greatest, greatest) - self._slack
        if piece.window_end <= max(reached, self._closed_until):
            watermarks = np.maximum(piece.ahead, partition.greatest) - self._slack
            is_late = np.maximum(watermarks, self._closed_until) >= piece.window_end
            late = piece.offsets[is_late & (piece.offsets >= partition.handled)]
            if is_late.any():
                rows = rows.filter(pa.array(~is_late))
        if rows.num_rows:
            record.open_pieces += 1
            self.open_rows += rows.num_rows
            if record.start < partition.handled:
                offsets = rows.column(OFFSET).to_numpy()
                self.retaken += int((offsets < partition.handled).sum())
            self._open.setdefault(piece.window_end, []).append((rows, record))
        return late

    @property
    def ended(self) -> bool:
        """Every partition was read to its end."""
        return all(partition.ended for partition in self.partitions.values())

    @property
    def rows_read(self) -> int:
        """Rows of all partitions that were read, before a restart or since."""
        return sum(max(p.offset, p.handled) for p in self.partitions.values())

    @property
    def watermark(self) -> int:
        """The least watermark (ms) of the partitions still running; NEVER until all have one.

        Where all of them have left it is that of the partition that is furthest.
        """
        running = [p for p in self.partitions.values() if not p.ended]
        if running and all(p.left for p in running):
            return max(NEVER, max(p.greatest for p in running) - self._slack)
        marks = (max(p.greatest - self._slack, p.clock) for p in running if not p.left)
        return max(NEVER, min(marks, default=NEVER))

    def close(self) -> Iterator[ClosedWindow]:
        """The windows that have closed since the last call, in order, empty ones between them too.

        Once every partition has ended all that are open close, and the last says so. A window
        counts as closed as soon as it is yielded.

        Raises:
            RunError: the event times leave a gap of more than MOST_EMPTY windows.
        """
        if not self._open and not self.ended:
            return
        if self.ended:
            last = max(self._open, default=max(self._closed_until, 0) + self._length)
        else:
            last = self.watermark // self._length * self._length
        first = self._closed_until + self._length
        if self._closed_until == NEVER:
            first = min(self._open, default=last)
        self._refuse_gap(first, last)
        for window_end in range(first, last + 1, self._length):
            yield self._close(window_end, self.ended and window_end == last)

    def _refuse_gap(self, first: int, last: int) -> None:
        filled = [first, *sorted(end for end in self._open if end <= last), last]
        for before, after in pairwise(filled):
            if (after - before) // self._length > MOST_EMPTY:
                days = [str(np.datetime64(end, "ms"))[:16] for end in (before, after)]
                raise RunError(
                    f"no event lies between {days[0]} and {days[1]} (UTC): more than "
                    f"{MOST_EMPTY:,} empty windows of {self._length} ms: check the unit of the "
                    "event times, or make windows.length longer"
                )

    def _close(self, window_end: int, end: bool) -> ClosedWindow:
        parts = self._open.pop(window_end, [])
        rows = merge([rows for rows, _ in parts]) if parts else None
        letters: tuple[Letter, ...] = ()
        if rows is not None:
            self.open_rows -= rows.num_rows
            if self._keyed:
                read = [chunk.decoded for _, chunk in parts if chunk.decoded]
                rows, letters = without_copies(rows, read)
        for _, chunk in parts:
            chunk.open_pieces -= 1
        self._closed_until = window_end
        numbered = {str(i): p for i, p in sorted(self.partitions.items())}
        resume = {name: p.resume() for name, p in numbered.items()}
        return ClosedWindow(
            window_end,
            rows,
            {name: max(p.offset, p.handled) for name, p in numbered.items()},
            {name: offset for name, (offset, _) in resume.items()},
            {name: time - self._slack for name, (_, time) in resume.items() if time != NEVER},
            end,
            letters,
            tuple(chunk.decoded for _, chunk in parts if self._joined and chunk.decoded),
        )
