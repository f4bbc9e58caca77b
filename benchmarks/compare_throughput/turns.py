"""Everybody learns the same mini-batches in turns, a few at a time, in alternating order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from compare_throughput.clicks import BATCH
from compare_throughput.peer import Peer

Learn = Callable[[int], object]
Rates = dict[str, npt.NDArray[np.float64]]


def turns(
    contenders: Mapping[str, Learn | Peer],
    rounds: int,
    batches: int,
    clock: Callable[[], float] = time.process_time,
) -> Rates:
    """Examples per second [rounds] of each, by their own processor time.

    Args:
        contenders: in this process by what makes them learn so many mini-batches, or a peer.
        rounds: that count; there is one before them, in which loops are compiled and memory is
            taken.
        batches: of a turn.
        clock: for those of this process; the peers tell their processor time.
    """
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds + 1):
        names.reverse()
        for name in names:
            contender = contenders[name]
            if isinstance(contender, Peer):
                spent = contender.learn(batches)
            else:
                started = clock()
                contender(batches)
                spent = clock() - started
            if turn:
                rates[name].append(batches * BATCH / spent)
    return {name: np.array(found) for name, found in rates.items()}
