"""From where a streaming job reads: the last commit's word, held against what the topics have."""

from __future__ import annotations

import json
from collections.abc import Mapping

from beam_jobs.stream_options import StreamOptions
from beam_jobs.topic_reader import TopicReader, lost_records, no_broker
from beam_jobs.window_buffer import WindowBuffer
from stream_prune.errors import RunError
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.log import MiniBatchLog

ANSWER_SECONDS = 5.0
"""How long a job at work waits for the cluster's answer: it must still hear that it is to stop."""

START = "start"
"""The name under which a log keeps the offsets that it began at, where that was the end."""


def start_reading(
    options: StreamOptions,
    reader: TopicReader,
    log: MiniBatchLog,
    last: Commit | None,
    buffer: WindowBuffer,
) -> dict[int, int]:
    """Set the buffer's partitions and the reader to where the log goes on.

    Returns:
        The end of each partition as of now.

    Raises:
        RunError: no broker answers, or what is to be read next is not there any more.
    """
    names = reader.partitions()
    if names is None:
        raise no_broker(options.kafka, "no metadata")
    for number in buffer.partitions:
        if number not in names:
            raise RunError(
                f"{log.place}: partition {number} was read into this log, and the topics "
                f"{', '.join(options.kafka.topics)} have it no more: they were made anew: begin "
                "another mini-batch log"
            )
    bounds = reader.bounds(list(names))
    begin = _begin(options, log, bounds) if last is None else {}
    for number, (first, end) in bounds.items():
        partition = buffer.partitions.get(number)
        if partition is None:
            buffer.add_partition(number, begin.get(number, first))
        elif not first <= partition.offset <= end:
            raise lost_records(*names[number], partition.offset, (first, end))
    reader.assign({number: p.offset for number, p in buffer.partitions.items()})
    return {number: end for number, (_, end) in bounds.items()}


def _begin(
    options: StreamOptions, log: MiniBatchLog, bounds: Mapping[int, tuple[int, int]]
) -> dict[int, int]:
    """Where a new log begins, if not at the beginning: the same after a restart."""
    if options.kafka.start == "earliest":
        return {}
    ends = {str(number): end for number, (_, end) in bounds.items()}
    agreed = json.loads(log.agree(START, json.dumps(ends) + "\n"))
    return {int(number): int(offset) for number, offset in agreed.items()}


def add_new_partitions(reader: TopicReader, buffer: WindowBuffer) -> bool:
    """Take up partitions that topics have got meanwhile; whether the cluster answered.

    Raises:
        RunError: a topic is gone, or the cluster stops answering.
    """
    names = reader.partitions(ANSWER_SECONDS)
    if names is None:
        return False
    gone = [number for number in buffer.partitions if number not in names]
    if gone:
        raise RunError(
            f"partition {gone[0]} is there no more: the topic was deleted and made anew while it "
            "was read: begin another mini-batch log"
        )
    new = [number for number in names if number not in buffer.partitions]
    if new:
        for number, (first, _) in reader.bounds(new).items():
            buffer.add_partition(number, first)
        reader.assign({number: p.offset for number, p in buffer.partitions.items()})
    return True
