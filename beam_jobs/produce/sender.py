"""What playing a log needs of a Kafka client; clients keep the order within a partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from beam_jobs.kafka_settings import KafkaSettings
from stream_prune.errors import RunError


class Sender(Protocol):
    """What playing a log needs of a client."""

    def make_topic(self, topic: str, partitions: int) -> None:
        """Make the topic if it is not there; one that is there stays as it is."""

    def ends(self, topic: str) -> list[int]:
        """The offset after the last message of each partition."""

    def send(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes],
        keys: Sequence[bytes] | None,
    ) -> None:
        """Hand messages over, in order; waits while too many are under way."""

    def flush(self) -> None:
        """Wait until everything has arrived.

        Raises:
            RunError: something has not.
        """

    def close(self) -> None: ...


def no_delivery(settings: KafkaSettings, error: object) -> RunError:
    """Says that messages do not arrive, and where to look."""
    told = settings.told(error) or type(error).__name__
    return RunError(
        f"{settings.bootstrap}: messages cannot be delivered: {told}: see that a broker runs there"
    )
