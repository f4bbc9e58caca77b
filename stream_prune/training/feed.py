"""The steps of the two cursors with their batches, read ahead of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TypeAlias, cast

import torch

from stream_prune.minibatch.batch import MiniBatch
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.reader import CursorState, Step, Window, two_cursors, windows
from stream_prune.training.clock import Clock
from stream_prune.training.prefetch import ahead

DEPTH = 16
"""Batches that are read ahead."""

Feed: TypeAlias = Iterator[tuple[Step, Iterator[MiniBatch]]]


@contextmanager
def feed(
    log: MiniBatchLog,
    state: CursorState,
    *,
    follow: bool,
    device: torch.device,
    clock: Clock,
    sampled: Callable[[Window], Window] = lambda window: window,
) -> Iterator[Feed]:
    """Pairs of a step and its window's batches, from ``state`` to the end of the log.

    The batches of a step must be taken before the next step is.

    Arguments: ``follow`` waits for windows that are still to be written; for CUDA batches come in
    page-locked memory, so that the copy to the device needs no waiting; ``clock`` is told how long
    the consumer waited; ``sampled`` says what is read of a window.

    Raises:
        RunError: a commit or a batch can't be read.
    """
    pin = device.type == "cuda"

    def source(stopped: Callable[[], bool]) -> Iterator[Step | MiniBatch]:
        found = windows(log, after=state.scored_until, follow=follow, stop=stopped)
        for step in two_cursors(map(sampled, found), log.spec.label_delay_ms, state):
            yield step
            for name, ref in step.window.batches:
                batch = log.read(name, ref, log.spec)
                yield _pinned(batch) if pin else batch

    with ahead(source, DEPTH) as items:
        yield _grouped(clock.reading(items))


def _grouped(items: Iterator[Step | MiniBatch]) -> Feed:
    for step in cast("Iterator[Step]", items):
        yield step, cast("Iterator[MiniBatch]", islice(items, len(step.window.batches)))


def _pinned(batch: MiniBatch) -> MiniBatch:
    dense, label = (
        torch.from_numpy(values).pin_memory().numpy() for values in (batch.dense, batch.label)
    )
    return replace(batch, dense=dense, label=label)
