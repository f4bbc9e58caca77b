import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.training.prefetch import ahead


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@given(st.lists(st.integers()), st.integers(1, 5))
def test_items_come_in_the_order_of_the_source(values, depth):
    with ahead(lambda stopped: iter(values), depth) as items:
        assert list(items) == values


def test_the_source_never_gets_further_ahead_than_told():
    started = []

    def source(stopped):
        for i in range(50):
            started.append(i)
            yield i

    with ahead(source, depth=3) as items:
        for taken, _ in enumerate(items, 1):
            # those taken, those queued, and the one waiting to be queued
            assert len(started) <= taken + 3 + 1


def test_an_error_of_the_source_is_raised_after_the_items_before_it():
    def source(stopped):
        yield from (1, 2)
        raise OSError("the disk is gone")

    taken = []
    with pytest.raises(OSError, match="the disk is gone"), ahead(source, depth=8) as items:
        taken.extend(items)
    assert taken in ([], [1, 2])
    assert not prefetch_threads()


def test_items_before_an_error_are_delivered_first():
    def source(stopped):
        yield from (1, 2)
        raise OSError("the disk is gone")

    with ahead(source, depth=8) as items:
        assert list(itertools.islice(items, 2)) == [1, 2]
        with pytest.raises(OSError, match="the disk is gone"):
            next(items)


@pytest.mark.parametrize("fail", [True, False])
def test_the_thread_ends_with_the_block_also_when_the_consumer_fails(fail):
    def endless(stopped):
        return itertools.count()

    def consume():
        with ahead(endless, depth=2) as items:
            next(items)
            if fail:
                raise RuntimeError("consumer")

    if fail:
        with pytest.raises(RuntimeError, match="consumer"):
            consume()
    else:
        consume()
    assert not prefetch_threads()


def test_a_source_that_waits_is_told_to_stop():
    told = threading.Event()

    def waiting(stopped):
        yield 1
        deadline = time.monotonic() + 20
        while not stopped() and time.monotonic() < deadline:
            time.sleep(0.001)
        if stopped():
            told.set()

    with ahead(waiting, depth=1) as items:
        assert next(items) == 1
    assert told.is_set()
