"""Reading and decoding ahead of the model, in one background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_WAIT_S = 0.1


class _End:
    """The source is exhausted, or failed with ``error``."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def ahead(source: Callable[[Callable[[], bool]], Iterator[T]], depth: int) -> Iterator[Iterator[T]]:
    """Iterate over a source in a background thread, at most ``depth`` items ahead.

    The order is the source's. An error of the source is raised to the consumer after the items that
    came before it. When the block is left, whatever the reason, the thread has ended.

    Arguments: ``source`` is called in the thread with a function that tells whether to stop; a
    source that waits for something asks it. ``depth`` is 1 or more.

    >>> with ahead(lambda stopped: iter("abc"), depth=2) as items:
    ...     print(*items)
    a b c
    """
    items: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | _End) -> bool:
        while not stop.is_set():
            try:
                items.put(item, timeout=_WAIT_S)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in source(stop.is_set):
                if not put(item):
                    return
        except BaseException as caught:  # noqa: BLE001  handed to the consumer, who raises it
            error = caught
        put(_End(error))

    def consume() -> Iterator[T]:
        while True:
            item = items.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join()
