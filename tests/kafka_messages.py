"""What lies in a topic, for tests."""

from __future__ import annotations

from stream_prune.minibatch.kafka_partition import PartitionReader


def committed(place, topic, partition=0):
    """The committed messages of a partition, in order."""
    with PartitionReader(place, topic, partition) as reader:
        return reader.read(*reader.ends())
