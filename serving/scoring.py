"""A question to its reply: decode, encode, score. Small ones at once, large ones beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from serving.batching import MicroBatches
from serving.config import ServingConfig
from serving.errors import RequestError
from serving.metrics import Metrics
from serving.model_slot import Served
from serving.protocol import Question, Reply, Scores
from stream_prune.artifact.inputs import Inputs
from stream_prune.features import FeatureSpec

SMALL_BYTES = 16 * 2**10
"""Bodies up to this size take less than it costs to hand them to another thread and back."""

Read = Callable[[bytes, Mapping[str, str], FeatureSpec, int], Question]


class Scoring:
    """Answers questions with the model that it is given.

    Args:
        name: the model's name, which answers repeat.
        config: limits, micro-batching, workers.
        metrics: told of every call of the model.
    """

    def __init__(self, name: str, config: ServingConfig, metrics: Metrics) -> None:
        self._name, self._config, self._metrics = name, config, metrics
        self._workers = ThreadPoolExecutor(config.workers, "score")
        waits = config.batching.wait_ms > 0
        self._batches = MicroBatches(config.batching, self.score) if waits else None

    def close(self) -> None:
        """Let no more be scored."""
        self._workers.shutdown(cancel_futures=True)

    async def answer(
        self, served: Served, read: Read, body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        """The reply to a request, all of it by one model.

        Args:
            served: the model.
            read: the request's protocol.
            body: of the request.
            headers: of the request.

        Raises:
            RequestError: the request is refused, or there was no score in time (504).
            ScoreError: a value of it is refused.
        """
        if len(body) <= SMALL_BYTES:
            if self._batches is None:
                return self.answer_now(served, read, body, headers)
            asked, inputs = self._understand(served, read, body, headers)
            if inputs.rows >= self._config.batching.rows:
                scores = self.score(served, inputs)
            else:
                scores = await self._batches.score(served, inputs)
            return asked.reply(self._name, served.version, scores)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._workers, self.answer_now, served, read, body, headers)
        try:
            async with asyncio.timeout(self._config.limits.request_s):
                return await work
        except TimeoutError:
            reason = f"there was no score in {self._config.limits.request_s:g} s: send fewer rows"
            raise RequestError(reason, status=504) from None

    def score(self, served: Served, inputs: Inputs) -> Scores:
        """Probabilities of encoded rows, and the time that they took told to the metrics."""
        begun = time.perf_counter()
        scores = served.scorer.scores_of(inputs)
        self._metrics.scoring.observe(time.perf_counter() - begun)
        self._metrics.rows.observe(inputs.rows)
        return scores

    def answer_now(
        self, served: Served, read: Read, body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        """The reply to a request of a few rows, or in a thread that may take its time.

        Raises:
            RequestError: the request is refused.
            ScoreError: a value of it is refused.
        """
        asked, inputs = self._understand(served, read, body, headers)
        return asked.reply(self._name, served.version, self.score(served, inputs))

    def _understand(
        self, served: Served, read: Read, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Question, Inputs]:
        asked = read(body, headers, served.scorer.card.spec, self._config.limits.rows)
        return asked, served.scorer.encode(asked.columns)
