"""One model and all that trains it: score a batch, learn a batch, adapt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer

from stream_prune.embedding.tables import EmbeddingTables
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.events import Event
from stream_prune.sparsity.plan import Plan
from stream_prune.stateful import Stateful

Probabilities = npt.NDArray[np.float32]


class Controller(Stateful, Protocol):
    """What a learner needs of a controller, be it of units or of elements."""

    @property
    def refused(self) -> Mapping[str, str]:
        """What stays dense, with the reason."""
        ...

    @property
    def plan(self) -> Plan | None:
        """The kept units; None where nothing is ever resized."""
        ...

    @property
    def rate(self) -> float:
        """The learning-rate multiplier in force."""
        ...

    def cost(self) -> Cost:
        """What the model costs as it is."""
        ...

    def step(
        self,
        *,
        labels: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        event_time: int,
    ) -> tuple[Event, ...]:
        """Called after every optimizer step; may change the model."""
        ...


@dataclass
class Learner:
    """A click model in training: tables for the ids, a head for the rest.

    Attributes:
        tables: the embedding tables; ``[F*B] ids -> [B, F, D]``.
        head: ``(dense [B, N], embeddings [B, F, D]) -> logits [B]``.
        optimizer: of the head; the tables bring their own.
        controller: keeps the head and the tables small, or the head sparse; None: dense.
        device: where both live.
        dense_cost: the full head's cost per example.
        full_rows: capacity of every table at full size.
    """

    tables: EmbeddingTables
    head: nn.Module
    optimizer: Optimizer
    controller: Controller | None
    device: torch.device
    dense_cost: Cost
    full_rows: Mapping[str, int]

    @torch.inference_mode()
    def score(self, batch: MiniBatch) -> Probabilities:
        """Probabilities [B] by the model as it is. Changes nothing: unknown ids stay unknown."""
        if self.head.training:
            self.head.eval()
        rows = self.tables(batch.ids, batch.offsets)
        probabilities: Probabilities = torch.sigmoid(self._logits(batch, rows)).cpu().numpy()
        return probabilities

    def learn(self, batch: MiniBatch) -> None:
        """One optimizer step on a batch in which every row is labelled."""
        if not self.head.training:
            self.head.train()
        rows = self.tables.read(self.tables.admit(batch.ids, batch.offsets))
        labels = self._move(batch.label)
        loss = binary_cross_entropy_with_logits(self._logits(batch, rows), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.tables.step()
        self.optimizer.zero_grad()

    def regulate(self, batch: MiniBatch, scores: Probabilities) -> tuple[Event, ...]:
        """Let the controller see the batch just learned, and change the model if it wants to.

        Arguments: ``scores`` [B] are the probabilities given at the rows' event time.
        """
        if self.controller is None:
            return ()
        return self.controller.step(
            labels=batch.label, scores=scores, event_time=int(batch.event_time[-1])
        )

    def end_window(self) -> None:
        """A window has been learned: candidates contest the weakest rows."""
        self.tables.adapt()

    @property
    def cost(self) -> Cost:
        """What the head costs per example at this moment."""
        return self.dense_cost if self.controller is None else self.controller.cost()

    def _logits(self, batch: MiniBatch, rows: Tensor) -> Tensor:
        logits: Tensor = self.head(self._move(batch.dense), rows)
        return logits

    def _move(self, values: npt.NDArray[np.float32]) -> Tensor:
        """To the device; without waiting if the memory is pinned."""
        return torch.from_numpy(values).to(self.device, non_blocking=True)
