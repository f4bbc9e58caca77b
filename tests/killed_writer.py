"""A writer that kills itself: ``killed_writer.py LOG SHARD WINDOWS OPERATIONS``.

It goes on where the last one stopped, and dies by SIGKILL before the given number of its
operations on the log (0: never): those on files, or calls of a Kafka producer. Every window has two
batches and one dead letter; up to four windows are committed together.
"""

from __future__ import annotations

import os
import signal
import sys

from log_builder import record, rows

from stream_prune.minibatch.open_log import open_log
from stream_prune.minibatch.place import KafkaPlace, log_place


def die_before_operation(number, place):
    left = number

    def count(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if isinstance(place, KafkaPlace):
        watch_producer(count)
    else:
        watch_files(count, str(place))


def watch_producer(count):
    from kafka import KafkaProducer

    for name in ("init_transactions", "begin_transaction", "send", "flush", "commit_transaction"):
        call = getattr(KafkaProducer, name)

        def counted(*args, call=call, **options):
            count()
            return call(*args, **options)

        setattr(KafkaProducer, name, counted)


def watch_files(count, folder):
    def watch(event, arguments):
        if event in ("open", "os.link", "os.remove") and str(arguments[0]).startswith(folder):
            count()

    sys.addaudithook(watch)
    fsync = os.fsync
    os.fsync = lambda handle: (count(), fsync(handle))


def tell(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(place, shard, last, operations):
    log = open_log(log_place(place))
    if operations:
        die_before_operation(operations, log_place(place))
    writer = log.writer(shard)
    tell(f"epoch {writer.epoch}")
    start = 0 if writer.last is None else writer.last.window_end
    waiting = []
    for end in range(start + 1000, last + 1, 1000):
        refs = [writer.write_batch(end, i, rows(end, 5, shard, i)) for i in range(2)]
        letter = {"source": "s", "partition": 0, "offset": end, "reason": "bad"}
        writer.write_dead_letters(end, [letter])
        waiting.append(record(writer, end, refs, end=end == last))
        if len(waiting) == 1 + end // 1000 % 4 or end == last:
            writer.commit(waiting)
            waiting = []
            tell(f"committed {end}")


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
