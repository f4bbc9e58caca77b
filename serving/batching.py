"""Micro-batching: requests that come close together are scored in one call of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from serving.config import Batching
from serving.model_slot import Served
from serving.protocol import Scores
from stream_prune.artifact.inputs import Inputs


@dataclass
class _Waiting:
    """Requests for one model that will be scored together."""

    inputs: list[Inputs] = field(default_factory=list)
    answers: list[asyncio.Future[Scores]] = field(default_factory=list)
    rows: int = 0


class MicroBatches:
    """Collects the rows of requests until they are many enough, or the first has waited enough.

    Rows of one request are never split, and those of two model versions never mixed.

    Args:
        config: how many, how long.
        score: scores the rows of one model.
    """

    def __init__(self, config: Batching, score: Callable[[Served, Inputs], Scores]) -> None:
        self._config, self._score = config, score
        self._waiting: dict[int, _Waiting] = {}

    async def score(self, served: Served, inputs: Inputs) -> Scores:
        """Probabilities of a request's rows, scored with those of others.

        Args:
            served: the model.
            inputs: the request's rows, encoded.
        """
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(id(served))
        if waiting is None:
            waiting = self._waiting[id(served)] = _Waiting()
            loop.call_later(self._config.wait_ms / 1_000, self._flush, served, waiting)
        answer: asyncio.Future[Scores] = loop.create_future()
        waiting.inputs.append(inputs)
        waiting.answers.append(answer)
        waiting.rows += inputs.rows
        if waiting.rows >= self._config.rows:
            self._flush(served, waiting)
        return await answer

    def _flush(self, served: Served, waiting: _Waiting) -> None:
        if self._waiting.get(id(served)) is waiting:
            del self._waiting[id(served)]
        answers, waiting.answers = waiting.answers, []
        if not answers:  # enough rows came before the time was over
            return
        try:
            scores = self._score(served, together(waiting.inputs))
        except Exception as error:  # noqa: BLE001 - every request of them has to hear of it
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
            return
        ends = np.cumsum([inputs.rows for inputs in waiting.inputs])
        for answer, part in zip(answers, np.split(scores, ends[:-1]), strict=True):
            if not answer.done():  # its client may have gone
                answer.set_result(part)


def together(inputs: Sequence[Inputs]) -> Inputs:
    """Rows of several requests as one batch, in their order."""
    if len(inputs) == 1:
        return inputs[0]
    dense = np.concatenate([each.dense for each in inputs])
    ids = [
        np.concatenate(column) for column in zip(*(each.columns for each in inputs), strict=True)
    ]
    bounds = zip(*(each.bounds for each in inputs), strict=True)
    return Inputs.of(dense, ids, [_offsets(column) for column in bounds])


def _offsets(parts: Sequence[npt.NDArray[np.int64] | None]) -> npt.NDArray[np.int64] | None:
    lengths = [np.diff(part) for part in parts if part is not None]
    if not lengths:
        return None
    return np.cumsum(np.concatenate([[0], *lengths]))
