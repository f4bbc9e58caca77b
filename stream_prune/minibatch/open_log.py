"""A log by its place, whichever kind of place it is."""

from __future__ import annotations

from pathlib import Path

from stream_prune.features import FeatureSpec
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.place import LogPlace


def open_log(place: LogPlace, spec: FeatureSpec | None = None) -> MiniBatchLog:
    """An existing log, to read; with ``spec``, only if its rows were encoded by that one.

    Raises:
        ConfigError: there is no log, or one of another specification; the parts are named.
        RunError: it can't be read.
    """
    if isinstance(place, Path):
        return FolderLog.open(place, spec)
    from stream_prune.minibatch.kafka_log import KafkaLog  # whoever uses folders needs no Kafka

    return KafkaLog.open(place, spec)


def create_log(place: LogPlace, header: LogHeader) -> MiniBatchLog:
    """A new log, or the one that is there if it has the same header.

    Raises:
        ConfigError: there is a log with another header; the differing parts are named.
        RunError: it can't be written.
    """
    if isinstance(place, Path):
        return FolderLog.create(place, header)
    from stream_prune.minibatch.kafka_log import KafkaLog

    return KafkaLog.create(place, header)
