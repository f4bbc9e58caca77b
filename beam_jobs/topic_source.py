"""Topics as partitions of a log: a poll in, chunks of undecoded records out."""

from __future__ import annotations

import gc
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from beam_jobs.kafka_records import KafkaRecords
from beam_jobs.log_source import UNREADABLE, Chunk
from beam_jobs.topic_reader import Message, TopicReader
from stream_prune.errors import RunError

_open: dict[str, TopicReader] = {}
"""Readers of this process: a client cannot be pickled into a pipeline."""

CHUNK_ROWS = 16_384


@dataclass(frozen=True)
class Poll:
    """What one micro-epoch reads: until so many records or seconds, whichever comes first.

    Attributes:
        records: most records.
        seconds: how long.
        ends: partitions that end at an offset, for a job that is to stop there.
        ended: those among them that were told before to have ended.
    """

    records: int
    seconds: float
    ends: Mapping[int, int] | None = None
    ended: frozenset[int] = frozenset()


def lend(reader: TopicReader) -> str:
    """Make a reader known to the transforms of this process; returns its key."""
    key = uuid.uuid4().hex
    _open[key] = reader
    return key


def take_back(key: str) -> None:
    """Forget a reader."""
    del _open[key]


class ReadPoll(beam.DoFn):  # type: ignore[misc]
    """Poll -> Chunks; what stops the job goes to ``unreadable``."""

    def __init__(self, key: str) -> None:
        self._key = key

    def process(self, element: Poll) -> Iterator[Any]:
        try:
            with without_collections():
                chunks = list(read(_open[self._key], element))
            yield from chunks
        except RunError as error:
            yield beam.pvalue.TaggedOutput(UNREADABLE, str(error))


class ReadTopics(beam.PTransform):  # type: ignore[misc]
    """Polls -> ``chunks`` and ``unreadable`` messages."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def expand(self, polls: Any) -> Any:
        return polls | (
            beam.ParDo(ReadPoll(self._key))
            .with_output_types(Chunk)
            .with_outputs(UNREADABLE, main="chunks")
        )


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection: it would look through a hundred thousand records again and again.

    They are in no cycles. Reading is 2.5 times as fast so.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read(reader: TopicReader, poll: Poll) -> Iterator[Chunk]:
    """The records of an epoch as chunks of one partition each, in the order of offsets.

    Chunks of a partition follow one another without a gap, whatever offsets have no record.

    Raises:
        RunError: records that were to be read are not there any more.
    """
    partitions = list(reader.assigned())
    before = {number: reader.position(number) for number in partitions}
    found: dict[int, list[Message]] = defaultdict(list)
    deadline, left = time.monotonic() + poll.seconds, poll.records
    while left > 0 and (seconds := deadline - time.monotonic()) > 0:
        for number, messages in reader.poll(left, seconds).items():
            found[number] += messages
            left -= len(messages)
        if poll.ends is not None and _reached(reader, poll.ends):
            break
    for number in partitions:
        end = None if poll.ends is None else poll.ends.get(number)
        ends = end is not None and reader.position(number) >= end and number not in poll.ended
        yield from _chunks(
            reader, number, found[number], before[number], reader.position(number), ends
        )


def _reached(reader: TopicReader, ends: Mapping[int, int]) -> bool:
    return all(reader.position(number) >= end for number, end in ends.items())


def _chunks(
    reader: TopicReader,
    number: int,
    messages: list[Message],
    start: int,
    stop: int,
    ends: bool,
) -> Iterator[Chunk]:
    parts: list[KafkaRecords] = []
    for first in range(0, len(messages), CHUNK_ROWS):
        parts += reader.columns(number, messages[first : first + CHUNK_ROWS])
    if not parts:
        if ends or stop > start:
            yield Chunk(number, start, stop, ends, reader.columns(number, ())[0])
        return
    for part in parts[:-1]:
        upto = int(part.offsets[-1]) + 1
        yield Chunk(number, start, upto, False, part)
        start = upto
    yield Chunk(number, start, stop, ends, parts[-1])
