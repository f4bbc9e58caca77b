"""Readers of topics as a splittable DoFn: a reader's number in, parcels out, for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import apache_beam as beam

from beam_jobs.cluster.follower import Follower
from beam_jobs.cluster.restriction import Position, Positions
from beam_jobs.stream_options import StreamOptions

_followers: dict[tuple[str, int], Follower] = {}
"""Of this process: clients outlive the calls in which a runner lets them read."""

_lock = threading.Lock()


class ReadTopics(beam.DoFn):  # type: ignore[misc]
    """Reader -> (shard, parcel); every call is one poll, then the runner gets the rest back.

    Args:
        job: the submission.
        options: which topics, and how they are decoded.
        readers: how many there are.
    """

    def __init__(self, job: str, options: StreamOptions, readers: int) -> None:
        self._job, self._options, self._readers = job, options, readers

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        reader: int,
        tracker: beam.DoFn.RestrictionParam = beam.DoFn.RestrictionParam(Positions()),  # noqa: B008
    ) -> Iterator[tuple[int, bytes]]:
        at: Position = tracker.current_restriction()
        for parcel, position in self._follower(reader).round(at):
            if not tracker.try_claim(position):
                self._forget(reader)  # it has read what goes to nobody
                return
            yield 0, parcel
            if position.finished:
                self._forget(reader)
                return
        tracker.defer_remainder()

    def _follower(self, reader: int) -> Follower:
        with _lock:
            key = (self._job, reader)
            if key not in _followers:
                _followers[key] = Follower(self._options, self._job, reader, self._readers)
            return _followers[key]

    def _forget(self, reader: int) -> None:
        with _lock:
            follower = _followers.pop((self._job, reader), None)
        if follower is not None:
            follower.close()
