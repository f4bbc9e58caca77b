"""From commits to steps: whole windows in order, and the two cursors that score and learn them."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TypeAlias

from stream_prune.errors import RunError
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.commit import BatchRef, Commit
from stream_prune.minibatch.log import MiniBatchLog


@dataclass(frozen=True)
class Window:
    """A window that every shard has committed.

    Attributes:
        start, end: ms since 1970 (UTC); an event at ``end`` belongs to the next window.
        batches: of all shards, by shard and index; possibly none.
        rows: in all batches.
        end_of_log: nothing follows; every shard has ended.
        behind: how many windows had been committed after it when it was read; a live measure.
        share: of the batches that are read: 1 for all; see :meth:`sample`.
        skipped: rows of the batches that are not.
    """

    start: int
    end: int
    batches: tuple[tuple[BatchName, BatchRef], ...]
    rows: int
    end_of_log: bool = False
    behind: int = field(default=0, compare=False)
    share: float = 1.0
    skipped: int = 0

    def sample(self, share: float) -> Window:
        """The window with a share of its batches, chosen by a hash of their names alone.

        Whoever samples the same window by the same share gets the same batches, and a smaller
        share is part of a greater one.
        """
        if share >= 1:
            return self
        kept = tuple((name, ref) for name, ref in self.batches if _draw(name) < share)
        rows = sum(ref.rows for _, ref in kept)
        return replace(self, batches=kept, rows=rows, share=share, skipped=self.rows - rows)


def _draw(name: BatchName) -> float:
    """A number in [0, 1) that hangs on the name alone."""
    digest = hashlib.sha256(str(name).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


class _Shard:
    """The commits of one shard that are read but not yet merged."""

    def __init__(self, log: MiniBatchLog, shard: int, after: int) -> None:
        self.queue: deque[Commit] = deque()
        self.ended = False
        self._log, self._shard, self._after = log, shard, after
        self._next = log.seek(shard, after) if after else 0

    def poll(self) -> None:
        if self.ended:
            return
        for number, commit in self._log.commits(self._shard, self._next):
            self._next = number + 1
            self.ended = commit.end
            if commit.window_end > self._after:
                self.queue.append(commit)

    @property
    def may_still_commit(self) -> bool:
        return not self.queue and not self.ended


def windows(
    log: MiniBatchLog,
    *,
    after: int = 0,
    follow: bool = False,
    poll_s: float = 0.2,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Window]:
    """The windows of a log in order, each once every shard has committed it.

    Args:
        log: what to read.
        after: only windows that end later than this (ms); 0 for all.
        follow: wait for windows that are still to be written, until every shard has ended;
            otherwise end with what is committed now.
        poll_s: seconds between two looks, when following.
        stop: asked before each wait; True ends a following reader.

    Raises:
        RunError: a commit can't be read.
    """
    trimmed = log.trimmed()
    if 0 < after < trimmed:
        raise RunError(
            f"{log.place}: windows up to {trimmed} have been removed, and those after {after} are "
            "needed: start a new run folder, which begins with what is left"
        )
    after = max(after, trimmed)
    shards = [_Shard(log, shard, after) for shard in range(log.header.shards)]
    while True:
        for shard in shards:
            shard.poll()
        polled = time.monotonic()
        while _complete(shards):
            yield _merge(shards, log.header.window_ms)
            if follow and time.monotonic() - polled > poll_s:  # so that `behind` is told as it is
                for shard in shards:
                    shard.poll()
                polled = time.monotonic()
        if not follow or all(shard.ended for shard in shards) or stop():
            return
        time.sleep(poll_s)


def _complete(shards: list[_Shard]) -> bool:
    return any(s.queue for s in shards) and not any(s.may_still_commit for s in shards)


def _merge(shards: list[_Shard], length: int) -> Window:
    """Take the next window; a shard's first may be later than another's."""
    end = min(s.queue[0].window_end for s in shards if s.queue)
    commits = [s.queue.popleft() for s in shards if s.queue and s.queue[0].window_end == end]
    return Window(
        start=end - length,
        end=end,
        batches=tuple(
            (BatchName(end, commit.shard, ref.index), ref)
            for commit in commits
            for ref in commit.batches
        ),
        rows=sum(commit.rows for commit in commits),
        end_of_log=all(s.ended and not s.queue for s in shards),
        behind=min((len(s.queue) for s in shards if s.queue or not s.ended), default=0),
    )


@dataclass(frozen=True)
class Score:
    """Score the window by the model as it is, before any of its labels is known."""

    window: Window


@dataclass(frozen=True)
class Learn:
    """Evaluate the window's scores and learn it: its labels are known now."""

    window: Window


Step: TypeAlias = Score | Learn


@dataclass(frozen=True)
class CursorState:
    """How far the two cursors are.

    Attributes:
        scored_until: end (ms) of the last window scored; 0 before the first.
        learned_until: end (ms) of the last window learned; 0 before the first.
        pending: the windows between the two, in order: scored, not learned.
    """

    scored_until: int = 0
    learned_until: int = 0
    pending: tuple[Window, ...] = ()

    def after(self, step: Step) -> CursorState:
        """The state once ``step`` is done.

        Raises:
            ValueError: that step is not the next one of its kind.
        """
        window = step.window
        if isinstance(step, Score):
            if window.end <= self.scored_until:
                raise ValueError(f"window {window.end} is scored already")
            return replace(self, scored_until=window.end, pending=(*self.pending, window))
        if self.pending[:1] != (window,):
            raise ValueError(f"window {window.end} is not the next one to be learned")
        return replace(self, learned_until=window.end, pending=self.pending[1:])

    def to_dict(self) -> dict[str, int]:
        """What a checkpoint has to keep; the pending windows are in the log."""
        return {"scored_until": self.scored_until, "learned_until": self.learned_until}

    @classmethod
    def restore(
        cls,
        log: MiniBatchLog,
        scored_until: int,
        learned_until: int,
        shares: Mapping[int, float] | None = None,
    ) -> CursorState:
        """The state of a checkpoint, its pending windows looked up in the log.

        Arguments: ``shares`` by which windows were sampled, by their ends.

        Raises:
            RunError: the log does not hold the windows that were read from it.
        """
        unlearned = windows(log, after=learned_until)
        found = takewhile(lambda window: window.end <= scored_until, unlearned)
        pending = tuple(window.sample((shares or {}).get(window.end, 1.0)) for window in found)
        reached = pending[-1].end if pending else learned_until
        if reached != scored_until:
            raise RunError(
                f"the log ends at window {reached}, but the checkpoint has scored up to "
                f"{scored_until}: it belongs to another log, or commits are missing"
            )
        return cls(scored_until, learned_until, pending)


def two_cursors(
    windows: Iterable[Window], delay_ms: int, state: CursorState | None = None
) -> Iterator[Step]:
    """The order in which windows are scored and learned (prequential, with delayed labels).

    A window is scored at its event time; its labels are all known ``delay_ms`` after its end, and
    it is learned before the first window that starts then or later. At the end of the log the rest
    is learned. Where the log only pauses (``windows`` ends without ``end_of_log``) the rest stays
    pending. The caller keeps its own state by ``state = state.after(step)``.

    Args:
        windows: those that end after ``state.scored_until``, in order.
        delay_ms: the label delay.
        state: where to go on; None for the start.
    """
    state = state or CursorState()
    pending = deque(state.pending)
    if pending and pending[-1].end_of_log:
        yield from _learn_all(pending)
    for window in windows:
        while pending and pending[0].end + delay_ms <= window.start:
            yield Learn(pending.popleft())
        yield Score(window)
        pending.append(window)
        if window.end_of_log:
            yield from _learn_all(pending)


def _learn_all(pending: deque[Window]) -> Iterator[Step]:
    while pending:
        yield Learn(pending.popleft())
