"""One partition of a log's topic, read from any offset on: committed messages only."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from stream_prune.errors import RunError
from stream_prune.minibatch.kafka_clients import consumer, no_answer, patiently, reason
from stream_prune.minibatch.place import KafkaPlace

_POLL_MS = 500


class PartitionReader:
    """A consumer of one partition; reading on from where the last reading ended needs no seek.

    Arguments: ``settings`` of the consumer beyond the place's. One thread at a time reads.
    """

    def __init__(self, place: KafkaPlace, topic: str, partition: int, **settings: Any) -> None:
        self._place = place
        self._partition = TopicPartition(topic, partition)
        self._consumer = consumer(place, **settings)
        self._consumer.assign([self._partition])
        self._lock = threading.Lock()
        self._after, self._position = -1, -1  # the last message's end, and of what follows it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, once nobody reads."""
        with self._lock:
            self._consumer.close()

    def ends(self) -> tuple[int, int]:
        """The first offset that is there, and the one after the last committed message.

        Raises:
            RunError: the brokers do not answer.
        """
        with self._lock:
            begin = patiently(
                self._place, lambda: self._consumer.beginning_offsets([self._partition])
            )
        return int(begin[self._partition]), self.end()

    def end(self) -> int:
        """The offset after the last committed message.

        Raises:
            RunError: the brokers do not answer.
        """
        with self._lock:
            end = patiently(self._place, lambda: self._consumer.end_offsets([self._partition]))
        return int(end[self._partition])

    def stands_at(self, offset: int) -> bool:
        """Whether reading from ``offset`` goes on from where the last reading ended.

        The ends of transactions take offsets of their own, so some hold no message.
        """
        return 0 <= self._after <= offset <= self._position + 1

    def read(self, start: int, end: int) -> list[Any]:
        """The messages with offsets in [start, end), in order; offsets may have gaps.

        Raises:
            RunError: the brokers do not answer, or have no message at ``start`` any more.
        """
        found: list[Any] = []
        if start >= end:
            return found
        with self._lock:
            if not self.stands_at(start):
                self._consumer.seek(self._partition, start)
                self._after = self._position = start
            deadline = time.monotonic() + self._place.patience_s
            while self._position < end:
                records = self._poll()
                found += [record for record in records if start <= record.offset < end]
                position = self._consumer.position(self._partition)
                if position != self._position:
                    deadline = time.monotonic() + self._place.patience_s
                elif time.monotonic() > deadline:
                    raise no_answer(self._place)
                self._after = records[-1].offset + 1 if records else self._after
                self._position = position
        return found

    def _poll(self) -> list[Any]:
        try:
            found = self._consumer.poll(timeout_ms=_POLL_MS)
        except OffsetOutOfRangeError as error:
            raise RunError(
                f"{self._place}: nothing is left at offset {self._position} of "
                f"{self._partition.topic}/{self._partition.partition}: it was removed, or the "
                "topic was deleted: replay the events into a new log"
            ) from error
        except KafkaError as error:
            raise RunError(f"{self._place}: {reason(error)}") from error
        records: list[Any] = found.get(self._partition, [])
        return records
