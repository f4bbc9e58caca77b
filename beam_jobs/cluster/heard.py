"""A client that polls nothing itself: it asks the brokers, and readers tell it how they stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from beam_jobs.kafka_records import KafkaRecords
from beam_jobs.topic_reader import REQUEST_SECONDS, Message, TopicReader


class HeardReader:
    """A :class:`~beam_jobs.topic_reader.TopicReader` whose polling others do."""

    def __init__(self, client: TopicReader) -> None:
        self._client = client
        self._positions: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    def hear(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """A reader has told how it stands."""
        self._positions |= positions
        self._ends |= ends

    def partitions(self, seconds: float = REQUEST_SECONDS) -> dict[int, tuple[str, int]] | None:
        return self._client.partitions(seconds)

    def bounds(self, numbers: Collection[int]) -> dict[int, tuple[int, int]]:
        return self._client.bounds(numbers)

    def assign(self, positions: Mapping[int, int]) -> None:
        self._positions = {**positions, **self._positions}

    def name(self, number: int) -> tuple[str, int]:
        return self._client.name(number)

    def assigned(self) -> Collection[int]:
        return self._positions.keys()

    def poll(self, most: int, seconds: float) -> dict[int, list[Message]]:  # noqa: ARG002
        return {}

    def columns(self, number: int, messages: Sequence[Message]) -> list[KafkaRecords]:
        return self._client.columns(number, messages)

    def position(self, number: int) -> int:
        return self._positions[number]

    def end(self, number: int) -> int | None:
        return self._ends.get(number)

    def pause(self, numbers: Collection[int]) -> None:
        """Readers hold themselves back."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        self._client.commit(offsets)
        self._client.poll(1, 0.0)  # what was told leaves with the client's next turn

    def close(self) -> None:
        self._client.close()
