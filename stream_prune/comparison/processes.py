"""Work in several processes, one thread each, which tell how far they are."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_POLL_S = 0.2

_told: Queue[Any] | None = None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class Workers:
    """A pool of processes; use it as a context.

    Args:
        jobs: processes at once.
        threads: that each may use.
    """

    def __init__(self, jobs: int, threads: int = 1) -> None:
        # Before torch is imported there: each process is to keep to its own cores.
        self._before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
        # Forking a process that holds torch's and Arrow's threads can hang.
        context = multiprocessing.get_context("spawn")
        self._told: Queue[Any] = context.Queue()
        self._pool = ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_begin, initargs=(self._told,)
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # a run that was interrupted goes on from its checkpoint
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
        self._pool.shutdown(cancel_futures=True)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def each(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        on_told: Callable[[Any], None] = lambda _: None,
    ) -> Iterator[tuple[Item, Result]]:
        """Every item with what ``function`` makes of it, as they are finished.

        Arguments: ``on_told`` is called here with whatever a worker gives to :func:`tell`.
        """
        waiting = {self._pool.submit(function, item): item for item in items}
        while waiting:
            finished, _ = wait(waiting, _POLL_S, FIRST_COMPLETED)
            while True:
                try:
                    on_told(self._told.get_nowait())
                except queue.Empty:
                    break
            for future in finished:
                yield waiting.pop(future), future.result()


def tell(message: Any) -> None:
    """Give a message to the process that waits for this worker; nothing in any other process."""
    if _told is not None:
        _told.put(message)


def _begin(told: Queue[Any]) -> None:
    global _told
    _told = told
    # Ctrl-C reaches the whole group: the parent ends its workers, and says so once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """A worker whose parent was killed would wait for ever, and hold its run folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
