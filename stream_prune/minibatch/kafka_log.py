"""The mini-batch log as topics of a Kafka cluster (:mod:`stream_prune.minibatch.kafka_topics`).

A commit is one transaction: the batches that it names, its dead letters and the record itself get
seen together or not at all. A shard's writers share one transactional id, so a new writer, when it
starts, fences off every older one at the broker, and its claim in the commit sequence tells them.
The sequence numbers of commits are Kafka's offsets; a commit says at which offset each batch lies.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from functools import cached_property

import pyarrow as pa

from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch, schema
from stream_prune.minibatch.commit import BatchRef, Claim, Commit, parse_record
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.kafka_clients import no_answer
from stream_prune.minibatch.kafka_partition import PartitionReader
from stream_prune.minibatch.kafka_topics import (
    ABOUT,
    COMMITS,
    DEAD_LETTERS,
    HELD,
    agree,
    agreed,
    create_topics,
    held,
    latest,
    remove_before,
    say,
    topic_exists,
)
from stream_prune.minibatch.kafka_writer import KafkaLogWriter
from stream_prune.minibatch.place import KafkaPlace
from stream_prune.minibatch.retention import KeptCommits, Retention

HEADER, NAME, TRIMMED = "header", "name", "trimmed"
_PAUSE_S = 0.002
_TAIL = 64
"""Records that the search for the last commit begins with, from the end."""


class KafkaLog:
    """A log in Kafka: :meth:`create` or :meth:`open` it, then write or read shards."""

    def __init__(self, place: KafkaPlace, header: LogHeader) -> None:
        self.at = place
        self.header = header
        self._commits: dict[int, PartitionReader] = {}
        self._batches: dict[int, list[PartitionReader]] = {}
        self._lock = threading.Lock()

    @classmethod
    def create(cls, place: KafkaPlace, header: LogHeader) -> KafkaLog:
        """A new log, or the one that is there if it has the same header.

        Raises:
            ConfigError: the topics hold a log with another header, or are none of a log.
            RunError: the brokers refuse, or do not answer.
        """
        create_topics(place, header.shards)
        text = agree(place, HEADER, header.to_json().encode())
        log = cls(place, LogHeader.from_json(text, str(place)))
        log.header.require_equal(header, str(place))
        return log

    @classmethod
    def open(cls, place: KafkaPlace, spec: FeatureSpec | None = None) -> KafkaLog:
        """An existing log, to read; with ``spec``, only if its rows were encoded by that one.

        Raises:
            ConfigError: there is no log, or one of another specification; the parts are named.
            RunError: the brokers do not answer.
        """
        text = agreed(place, HEADER) if topic_exists(place, ABOUT) else None
        if text is None:
            raise ConfigError(
                f"{place}: no mini-batch log (topic {place.topic}{ABOUT} has no header): "
                "name the topic that a job has written"
            )
        log = cls(place, LogHeader.from_json(text, str(place)))
        log.header.require_spec(log.spec if spec is None else spec, str(place))
        return log

    @property
    def place(self) -> str:
        """Where the log is, for messages."""
        return str(self.at)

    @property
    def dead_letters(self) -> str:
        """Where its dead letters are, for messages."""
        return f"topic {self.at.topic}{DEAD_LETTERS}"

    @cached_property
    def spec(self) -> FeatureSpec:
        """The feature specification of the rows."""
        return FeatureSpec.from_dict(self.header.features)

    @cached_property
    def _kept(self) -> KeptCommits:
        return KeptCommits(self.commits, self.seek, self.header.shards)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        return schema(self.spec)

    def agree(self, name: str, text: str) -> str:
        """Say something about the log once; returns what the log says under that name.

        Raises:
            RunError: the brokers do not answer.
        """
        return agree(self.at, name, text.encode()).decode()

    def agreed(self, name: str) -> str | None:
        """What was said under a name; None if nothing was.

        Raises:
            RunError: the brokers do not answer.
        """
        text = agreed(self.at, name)
        return None if text is None else text.decode()

    def writer(self, shard: int) -> KafkaLogWriter:
        """Claim a shard for writing: every earlier writer of it is fenced off from now on.

        Raises:
            RunError: the brokers do not answer, or the commit sequence is damaged.
        """
        if not 0 <= shard < self.header.shards:
            raise ConfigError(
                f"{self.at}: shard = {shard}: the log has the shards 0 to {self.header.shards - 1}"
            )
        return KafkaLogWriter(self, shard)

    def commits(self, shard: int, start: int = 0) -> list[tuple[int, Commit]]:
        """The commits of a shard from sequence number ``start`` on, each with its number.

        Raises:
            RunError: the brokers do not answer, or a record is not one of this log's sequence.
        """
        reader = self._commit_reader(shard)
        first = reader.ends()[0] if start == 0 else start
        end = reader.end()
        if start > end:
            raise RunError(
                f"{self.at}: shard {shard} ends at {end}, but {start} was read before: the topic "
                "was deleted and made anew: replay the events into a new log"
            )
        return [
            (number, record)
            for number, record in self._records(shard, first, end)
            if isinstance(record, Commit)
        ]

    def hold(self, reader: str, window_end: int) -> None:
        """A reader needs all windows that end after this one.

        Raises:
            RunError: the brokers do not answer.
        """
        say(self.at, f"{HELD}{reader}", str(window_end).encode())

    def trim(self, retention: Retention, at_least_ms: int = 0) -> int:
        """Remove batches beyond the bounds; returns up to which window end they are gone.

        What is to go is said before it goes, so that no reader begins there meanwhile.

        Raises:
            RunError: the brokers refuse, or do not answer.
        """
        before = self.trimmed()
        shards = self._kept.after(before)
        until = retention.bound(shards, held(self.at), at_least_ms)
        if until <= before:
            return before
        say(self.at, TRIMMED, str(until).encode())
        first: dict[int, int] = {}
        for shard, commits in enumerate(shards):
            needed = [at for c in commits if c.window_end > until for at in _positions(c)]
            if needed:
                first[shard] = min(needed)
        remove_before(self.at, first)
        return until

    def trimmed(self) -> int:
        """Up to which window end batches are gone; 0: none are.

        Raises:
            RunError: the brokers do not answer.
        """
        return int(latest(self.at, TRIMMED) or 0)

    def last(self, shard: int) -> tuple[int, Commit | None]:
        """The newest epoch of a shard (0: never written), and its last commit.

        Raises:
            RunError: the brokers do not answer, or a record is not one of this log's sequence.
        """
        begin, end = self._commit_reader(shard).ends()
        size = _TAIL
        while True:
            start = max(begin, end - size)
            records = [record for _, record in self._records(shard, start, end)]
            commits = [record for record in records if isinstance(record, Commit)]
            if commits or start == begin:
                break
            size *= 8
        if not commits and begin > 0:
            raise RunError(
                f"{self.at}: shard {shard}: the last commit has been removed, so nobody knows "
                "where to go on: replay the events into a new log"
            )
        newest = max((_epoch(record) for record in records), default=0)
        return newest, commits[-1] if commits else None

    def seek(self, shard: int, window_end: int) -> int:
        """The number of the last commit that ends by ``window_end``; 0 if none does.

        Whoever reads on from there misses no later one, and sees whether the shard has ended. The
        search goes back from the end, in growing steps.

        Raises:
            RunError: the brokers do not answer, or a record is not one of this log's sequence.
        """
        begin, end = self._commit_reader(shard).ends()
        size = _TAIL
        while True:
            start = max(begin, end - size)
            for number, record in reversed(self._records(shard, start, end)):
                if isinstance(record, Commit) and record.window_end <= window_end:
                    return number
            if start == begin:
                return 0
            size *= 8

    def close(self) -> None:
        """Let go of the connections; what is asked of the log after that makes new ones."""
        with self._lock:
            readers = [*self._commits.values(), *(r for rs in self._batches.values() for r in rs)]
            self._commits.clear()
            self._batches.clear()
        for reader in readers:
            reader.close()

    def wait_until_seen(self, shard: int, number: int) -> None:
        """Wait for a record that has been sent until readers see it.

        The brokers answer a producer when the outcome of its transaction is settled, which is some
        milliseconds before they tell consumers.

        Raises:
            RunError: the brokers do not answer.
        """
        reader = self._commit_reader(shard)
        deadline = time.monotonic() + self.at.patience_s
        while reader.end() <= number:
            if time.monotonic() > deadline:
                raise no_answer(self.at)
            time.sleep(_PAUSE_S)

    def _records(self, shard: int, start: int, end: int) -> list[tuple[int, Claim | Commit]]:
        found: list[tuple[int, Claim | Commit]] = []
        newest, window_end = 0, 0
        for message in self._commit_reader(shard).read(start, end):
            place = f"{self.at}: commit record {message.offset} of shard {shard}"
            try:
                record = parse_record(message.value)
            except ValueError as error:
                raise RunError(f"{place}: {error}: replay the events into a new log") from None
            if isinstance(record, Commit):
                if record.fingerprint != self.header.fingerprint:
                    raise RunError(
                        f"{place}: is of the feature specification {record.fingerprint[:12]}, the "
                        f"log of {self.header.fingerprint[:12]}: the topic mixes two logs"
                    )
                if record.writer_epoch < newest or record.window_end <= window_end:
                    raise RunError(
                        f"{place}: window {record.window_end} by writer {record.writer_epoch} "
                        f"comes after window {window_end} and writer {newest}: something else has "
                        "written to the topic: replay the events into a new log"
                    )
                window_end = record.window_end
            newest = max(newest, _epoch(record))
            found.append((message.offset, record))
        return found

    def read_arrow(self, name: BatchName, ref: BatchRef) -> pa.RecordBatch:
        """A batch as written, after its name and digest were verified.

        Raises:
            RunError: it is not there any more, or altered; the brokers do not answer.
        """
        if ref.position is None:
            raise ValueError(f"batch {name}: {ref} is no reference of a log in Kafka")
        return self._read(name.shard, ref.position, str(name), ref.digest, f"the {ref.rows} rows")

    def read_state(self, name: str, digest: str) -> pa.RecordBatch:
        """What a commit names as state, after its digest was verified.

        Raises:
            RunError: it is not there any more, or altered; the brokers do not answer.
        """
        written, _, position = name.rpartition("@")
        shard = int(written.split("-")[1])
        return self._read(shard, int(position), written, digest, "the state")

    def _read(self, shard: int, at: int, name: str, digest: str, what: str) -> pa.RecordBatch:
        for message in self._batch_reader(shard, at).read(at, at + 1):
            same = hashlib.sha256(message.value).hexdigest() == digest
            if same and dict(message.headers).get(NAME) == name.encode():
                return pa.ipc.open_file(pa.py_buffer(message.value)).get_batch(0)
        raise RunError(
            f"{self.at}: {name}: not {what} that were committed lie at offset {at}: replay the "
            "events into a new log"
        )

    def read(self, name: BatchName, ref: BatchRef, spec: FeatureSpec) -> MiniBatch:
        """A batch as arrays, after its name and digest were verified.

        Raises:
            RunError: it is not there any more, or altered; the brokers do not answer.
        """
        return MiniBatch.from_arrow(spec, name, self.read_arrow(name, ref))

    def _commit_reader(self, shard: int) -> PartitionReader:
        with self._lock:
            if shard not in self._commits:
                self._commits[shard] = PartitionReader(self.at, self.at.topic + COMMITS, shard)
            return self._commits[shard]

    def _batch_reader(self, shard: int, position: int) -> PartitionReader:
        """One that stands there already, or the one that was used longest ago.

        Two a shard, because two cursors read it: each finds its own where it left it.
        """
        with self._lock:
            readers = self._batches.setdefault(shard, [])
            standing = [reader for reader in readers if reader.stands_at(position)]
            if len(readers) < 2 and not standing:
                # one message a poll: what it has fetched beyond stays with the consumer
                made = PartitionReader(self.at, self.at.topic, shard, max_poll_records=1)
                readers.append(made)
                return made
            chosen = (standing or readers)[0]
            readers.remove(chosen)
            readers.append(chosen)
            return chosen


def _positions(commit: Commit) -> Iterator[int]:
    """Where the batches and the state of a commit lie."""
    yield from (ref.position for ref in commit.batches if ref.position is not None)
    yield from (int(name.rpartition("@")[2]) for name, _ in commit.state)


def _epoch(record: Claim | Commit) -> int:
    return record.epoch if isinstance(record, Claim) else record.writer_epoch
