"""A writer that kills itself: ``killed_writer.py LOG SHARD WINDOWS OPERATIONS``.

It goes on where the last one stopped, and dies by SIGKILL before the given number of its
operations on the log's files (0: never). Every window has two batches and one dead letter; up
to four windows are committed together.
"""

from __future__ import annotations

import os
import signal
import sys

from log_builder import record, rows

from stream_prune.minibatch.folder_log import FolderLog


def die_before_operation(number, folder):
    left = number

    def count(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event, arguments):
        if event in ("open", "os.link", "os.remove") and str(arguments[0]).startswith(folder):
            count()

    sys.addaudithook(watch)
    fsync = os.fsync
    os.fsync = lambda handle: (count(), fsync(handle))


def tell(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(folder, shard, last, operations):
    log = FolderLog.open(folder)
    if operations:
        die_before_operation(operations, folder)
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
