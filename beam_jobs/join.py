"""The join: closed windows of impressions and clicks in, closed windows of labelled rows out.

A window of the source holds the impressions and the clicks of its span of time, in the one order
that a window has. Once the clock is a whole attribution past a window's end, all clicks that may
count for it are known, and it goes out: label 1 for an impression with a click, else 0. So the
source's window S lets the window S - A go, A being the attribution in whole windows, and its commit
says where to read on after S. Where conversions follow the clicks, their attribution is part of A,
and label 1 is for an impression with a click that has a conversion.

What a restart needs beside that is written once a window: the impressions of S that wait, and the
keys and times of its clicks and conversions that matched. The commits of the last A windows name
these snapshots; together they are the state, and no event is read again that was in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from beam_jobs.closed_window import ClosedWindow
from beam_jobs.dead_letters import DUPLICATES, LATE, UNMATCHED, Letter
from beam_jobs.join_options import JoinOptions
from beam_jobs.pending import Mask, Pending, Verdict
from stream_prune.errors import RunError
from stream_prune.features import EVENT_KEY, EVENT_TIME, LABEL, PARTITION
from stream_prune.minibatch.arrow_file import arrow_file
from stream_prune.minibatch.commit import Commit

IMPRESSIONS, CLICKS, CONVERSIONS = "impressions", "clicks", "conversions"
_FOLLOWED = {"click": "impression", "conversion": "clicked impression"}
_MATCHED = pa.schema([(EVENT_KEY, pa.int64()), (EVENT_TIME, pa.int64())])


class Join:
    """The state of one shard.

    Args:
        length_ms: of a window.
        options: of the join.
        is_click: for partition numbers [B], which of them are partitions of clicks [B].
        shard: in the names of snapshots.
        is_conversion: which of those are partitions of conversions [B]; None: none are.
    """

    def __init__(
        self,
        length_ms: int,
        options: JoinOptions,
        is_click: Callable[[np.ndarray], Mask],
        *,
        shard: int = 0,
        is_conversion: Callable[[np.ndarray], Mask] | None = None,
    ) -> None:
        self._length, self._options, self._is_click = length_ms, options, is_click
        self._is_conversion, self._shard = is_conversion, shard
        self.delay_ms = options.delay_ms(length_ms)
        """From the window that goes out to the one that comes in (ms)."""
        later = options.conversions
        self.pending = Pending(
            options.attribution_ms, None if later is None else later.attribution_ms
        )
        self._rows: dict[int, pa.RecordBatch] = {}

    def source(self, last: Commit | None) -> Commit | None:
        """The last commit as the window buffer has to see it: closed as far as the source is."""
        if last is None:
            return None
        return replace(last, window_end=last.window_end + self.delay_ms)

    def restore(
        self, commits: Sequence[Commit], read: Callable[[str, str], pa.RecordBatch]
    ) -> list[str]:
        """Take up the state that the last commits of a shard have left.

        Args:
            commits: those of the last ``delay_ms`` at least, in order.
            read: a snapshot by name and digest.

        Returns:
            Names of the snapshots that are needed; a killed run may not have removed others.
        """
        found = list(commits)
        if not found:
            return []
        last = found[-1].window_end
        needed = []
        for commit in found:
            if commit.window_end <= last - self.delay_ms:
                continue
            needed += [name for name, _ in commit.state]
            window_end = commit.window_end + self.delay_ms
            for name, digest in commit.state:
                rows = read(name, digest)
                if f"-{IMPRESSIONS}" in name:
                    self._add(rows, window_end)
                    continue
                clicks = f"-{CLICKS}" in name
                mark = self.pending.mark_clicked if clicks else self.pending.mark_converted
                mark(_ints(rows, EVENT_KEY), _ints(rows, EVENT_TIME))
        return needed

    def take_all(self, windows: Iterable[ClosedWindow]) -> Iterator[ClosedWindow]:
        """:meth:`take` for one after the other."""
        for window in windows:
            yield from self.take(window)

    def take(self, closed: ClosedWindow) -> Iterator[ClosedWindow]:
        """Put a closed window of the source in; gives the window that goes out, at the end more.

        Raises:
            RunError: too many impressions wait.
        """
        letters, state = list(closed.letters), []
        counts = {CLICKS: 0}
        if closed.rows is not None:
            impressions, clicks, conversions = self._split(closed.rows)
            fresh = self._add(impressions, closed.window_end)
            kept = impressions.filter(pa.array(fresh))
            again = "an impression of the same key waits for its clicks already"
            letters += closed.told(impressions, ~fresh, DUPLICATES, again)
            clicked = self.pending.click(_ints(clicks, EVENT_KEY), _ints(clicks, EVENT_TIME))
            letters += _told(closed, clicks, clicked, "its impression", "click")
            parts = [(IMPRESSIONS, kept), (CLICKS, _matched(clicks, clicked))]
            if self._is_conversion is not None:
                converted = self.pending.convert(
                    _ints(conversions, EVENT_KEY), _ints(conversions, EVENT_TIME)
                )
                letters += _told(closed, conversions, converted, "its click", "conversion")
                parts.append((CONVERSIONS, _matched(conversions, converted)))
            counts = {what: rows.num_rows for what, rows in parts[1:]}
            state = [
                (f"{closed.window_end}-{self._shard}-{what}", arrow_file(rows, rows.schema))
                for what, rows in parts
                if rows.num_rows
            ]
        out = self._release(closed.window_end - self.delay_ms)
        more = self._after(closed) if closed.end else []
        yield replace(
            closed,
            window_end=closed.window_end - self.delay_ms,
            rows=out,
            letters=tuple(letters),
            read=(),
            end=closed.end and not more,
            counts=counts,
            state=tuple(state),
            forget=self._outlived(closed, closed.window_end - self.delay_ms, not more),
        )
        for window_end in more:
            yield replace(
                closed,
                window_end=window_end,
                rows=self._release(window_end),
                letters=(),
                read=(),
                end=window_end == more[-1],
                forget=self._outlived(closed, window_end, window_end == more[-1]),
            )

    def _split(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]:
        """Impressions, clicks, conversions."""
        partitions = _ints(rows, PARTITION)
        clicks = self._is_click(partitions)
        later = np.zeros(len(clicks), np.bool_)
        if self._is_conversion is not None:
            later = self._is_conversion(partitions)
        parts = (~clicks & ~later, clicks & ~later, later)
        impressions, pressed, bought = (rows.filter(pa.array(part)) for part in parts)
        return impressions, pressed, bought

    def _add(self, impressions: pa.RecordBatch, window_end: int) -> Mask:
        keys, times = _ints(impressions, EVENT_KEY), _ints(impressions, EVENT_TIME)
        fresh = self.pending.add(keys, times, window_end)
        if len(self.pending) > self._options.max_pending:
            raise RunError(
                f"join: {len(self.pending):,} impressions wait for their clicks at window "
                f"{window_end}, more than join.max_pending = {self._options.max_pending:,} allows: "
                "raise it, or make join.attribution shorter"
            )
        if fresh.any():
            self._rows[window_end] = impressions.filter(pa.array(fresh))
        return fresh

    def _release(self, window_end: int) -> pa.RecordBatch | None:
        rows = self._rows.pop(window_end, None)
        if rows is None:
            return None
        label = pa.array(self.pending.release(window_end).astype(np.float32))
        return rows.set_column(rows.schema.get_field_index(LABEL), rows.schema.field(LABEL), label)

    def _after(self, closed: ClosedWindow) -> Sequence[int]:
        """The windows that still go out when the source has ended."""
        last = self.pending.last_window
        if last is None:
            return []
        return range(closed.window_end - self.delay_ms + self._length, last + 1, self._length)

    def _outlived(self, closed: ClosedWindow, gone: int, last: bool) -> tuple[str, ...]:
        """Names of the snapshots that nobody needs once a window has gone out: its own.

        With the last window of all, those of every window that came in after it too.
        """
        until = closed.window_end if closed.end and last else gone
        ends = range(gone, until + 1, self._length)
        kinds = (IMPRESSIONS, CLICKS, CONVERSIONS)[: 2 if self._is_conversion is None else 3]
        return tuple(f"{e}-{self._shard}-{what}" for e in ends for what in kinds)


def _matched(events: pa.RecordBatch, verdict: Verdict) -> pa.RecordBatch:
    """Key and time of the clicks, or conversions, that count."""
    columns = [events.column(name) for name in _MATCHED.names]
    return pa.record_batch(columns, schema=_MATCHED).filter(pa.array(verdict.matched))


def _told(
    closed: ClosedWindow, events: pa.RecordBatch, verdict: Verdict, before: str, kind: str
) -> list[Letter]:
    """Letters of the clicks, or conversions, that do not count; ``before``: what they follow."""
    reasons = (
        (verdict.again, DUPLICATES, f"{before} has a {kind} before it"),
        (verdict.late, LATE, f"it comes after the attribution of {before}"),
        (verdict.alone, UNMATCHED, f"no {_FOLLOWED[kind]} of its key comes before it and waits"),
    )
    return [letter for reason in reasons for letter in closed.told(events, *reason)]


def _ints(rows: pa.RecordBatch, name: str) -> np.ndarray:
    return np.asarray(rows.column(name).to_numpy()).astype(np.int64)
