"""One of several readers: polls its share of the partitions, from where the newest reading says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from beam_jobs.cluster.chunks import validated
from beam_jobs.cluster.parcel import Parcel, pack
from beam_jobs.cluster.readings import Reading, Readings, stopped
from beam_jobs.cluster.restriction import Position
from beam_jobs.log_source import Chunk
from beam_jobs.stream_options import StreamOptions
from beam_jobs.topic_reader import open_reader
from beam_jobs.topic_source import Poll, read, without_collections
from beam_jobs.windows import window_ends
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import EVENT_TIME
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.open_log import open_log

LOOK_SECONDS = 0.5
"""How often a reader looks into the log for a newer reading and for commits."""

METADATA_SECONDS = 5.0
"""How often the cluster is asked for new partitions."""


class Follower:
    """Reads the partitions whose number leaves ``reader`` when divided by ``readers``.

    Raises:
        RunError: no broker answers, or the log can't be read.
    """

    def __init__(self, options: StreamOptions, job: str, reader: int, readers: int) -> None:
        self._options, self._job = options, job
        self._reader, self._readers = reader, readers
        join = options.join
        self._delay_ms = 0 if join is None else join.delay_ms(options.window_ms)
        self._log = open_log(options.log)
        self._readings = Readings(self._log)
        self._client = open_reader(options.reading)
        self._reading: Reading | None = None
        self._ended: set[int] = set()
        self._looked = self._asked = -np.inf
        self._over = False
        self._commits = 0
        self._last: Commit | None = None
        self._first: dict[int, int] = {}  # the end of a partition's first window
        self._greatest: dict[int, int] = {}
        self._begun: dict[int, int] = {}

    def close(self) -> None:
        """Let go of the cluster."""
        self._client.close()

    def round(self, at: Position) -> Iterator[tuple[bytes, Position]]:
        """What one poll gives: each parcel with the position after it.

        Args:
            at: where this reader, or one before it, was.
        """
        try:
            yield from self._round(at)
        except (ConfigError, RunError) as error:
            number = 0 if self._reading is None else self._reading.number
            unreadable = (str(error),)
            yield Parcel(number, unreadable=unreadable, reader=self._reader).encode(), at
            time.sleep(1)

    def _round(self, at: Position) -> Iterator[tuple[bytes, Position]]:
        self._look()
        if self._over:
            yield Parcel(0).encode(), replace(at, finished=True)
            return
        newest = self._readings.newest() if self._reading is None else self._newest
        if newest is None or newest.job != self._job:  # the writer starts when it gets something
            yield Parcel(0).encode(), at
            time.sleep(LOOK_SECONDS / 2)
            self._looked = -np.inf
            return
        if newest is not self._reading:
            self._begin(newest, at)
        self._add_new_partitions()
        held = self._hold_back()
        poll = Poll(
            max(1_000, self._options.epoch_rows // self._readers),
            self._options.epoch_ms / 1000,
            None
            if newest.ends is None
            else {n: newest.ends[n] for n in self._begun if n in newest.ends},
            frozenset(self._ended),
        )
        if held == set(self._begun):
            time.sleep(poll.seconds)
            chunks: list[Chunk] = []
        else:
            with without_collections():
                chunks = list(read(self._client, poll))
        for chunk in chunks:
            if chunk.stop == chunk.start and not chunk.ends:
                continue
            rows, letters = validated(chunk, self._options)
            self._note(chunk, rows.rows.column(EVENT_TIME).to_numpy())
            yield pack(newest.number, rows, letters), Position(newest.number, self._offsets)
        yield self._standing(), Position(newest.number, self._offsets)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._newest = self._readings.newest()
        for number, commit in self._log.commits(0, self._commits):
            self._commits, self._last = number + 1, commit
        ended = self._last is not None and self._last.end
        self._over = ended or stopped(self._log, self._job) is not None

    def _begin(self, reading: Reading, at: Position) -> None:
        self._ended.clear()
        self._client.partitions()
        offsets = {n: o for n, o in reading.positions.items() if self._mine(n)}
        if at.reading == reading.number:
            offsets |= {n: o for n, o in at.offsets if self._mine(n)}
        self._begun = offsets
        self._first.clear()
        self._greatest.clear()
        self._client.pause(())  # a client may keep what is paused over what is assigned
        self._client.assign(offsets)
        self._reading = reading

    def _mine(self, number: int) -> bool:
        return number % self._readers == self._reader

    def _add_new_partitions(self) -> None:
        now = time.monotonic()
        if now - self._asked < METADATA_SECONDS:
            return
        self._asked = now
        there = self._client.partitions()
        new = [n for n in there or () if self._mine(n) and n not in self._begun]
        if new:
            self._begun |= {n: first for n, (first, _) in self._client.bounds(new).items()}
            self._client.assign({n: self._begun[n] for n in new} | dict(self._offsets))

    @property
    def _offsets(self) -> tuple[tuple[int, int], ...]:
        return tuple((n, self._client.position(n)) for n in self._client.assigned())

    def _standing(self) -> bytes:
        assert self._reading is not None
        ends = {n: self._client.end(n) for n, _ in self._offsets}
        return Parcel(
            self._reading.number,
            positions=dict(self._offsets),
            ends={n: end for n, end in ends.items() if end is not None},
            reader=self._reader,
        ).encode()

    def _note(self, chunk: Chunk, times: npt.NDArray[np.int64]) -> None:
        number = chunk.partition
        if chunk.ends:
            self._ended.add(number)
        if len(times):
            self._first.setdefault(number, int(window_ends(times[:1], self._options.window_ms)[0]))
            self._greatest[number] = max(self._greatest.get(number, 0), int(times.max()))

    def _hold_back(self) -> set[int]:
        """Read no partition further that is ahead and has much read that no commit covers.

        One that the next window still waits for is always read.
        """
        options = self._options
        most = options.max_open_rows // max(
            1, len(self._reading.positions if self._reading else ())
        )
        held = set(self._ended)
        for number, offset in self._offsets:
            done = self._begun[number]
            if self._last is None:
                closing_at = self._first.get(number, 0)
            else:
                done = max(done, self._last.closed_at.get(str(number), 0))
                closing_at = self._last.window_end + options.window_ms + self._delay_ms
            ahead = self._greatest.get(number, -1) - options.out_of_orderness_ms
            if offset - done > most and ahead >= closing_at > 0:
                held.add(number)
        self._client.pause(held)
        return held
