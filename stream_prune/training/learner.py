"""One model and all that trains it: score a batch, learn a batch, adapt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer

from stream_prune.drift.monitor import DriftMonitor
from stream_prune.embedding.widths import Tables
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.events import Event
from stream_prune.sparsity.finite import FiniteSteps
from stream_prune.sparsity.plan import Plan
from stream_prune.stateful import Stateful
from stream_prune.training.companion import Companion, Probabilities, SoftTargets, not_finite


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

    @property
    def dropped_steps(self) -> int:
        """Optimizer steps dropped because gradients were not finite."""
        ...

    def cost(self) -> Cost:
        """What the model costs as it is."""
        ...

    def summary(self) -> Mapping[str, Any]:
        """What it is and has found, as JSON values."""
        ...

    @property
    def step(self) -> Callable[..., tuple[Event, ...]]:
        """Called after every optimizer step, with labels, scores and event_time; may change the
        model. A controller of units also takes a reference."""
        ...


@dataclass
class Learner:
    """A click model in training: tables for the ids, a head for the rest.

    Attributes:
        tables: the embedding tables; ``[F*B] ids -> [B, F, D]``.
        head: ``(dense [B, N], embeddings [B, F, D]) -> logits [B]``.
        optimizer: of the head, and of narrow tables' projections; rows bring their own.
        controller: keeps the head and the tables small, or the head sparse; None: dense.
        device: where both live.
        dense_cost: the full head's cost per example.
        full_rows: capacity of every table at full size.
        lr, rows_lr: learning rates of the dense part and of the tables.
        guard: drops the steps whose gradients are not finite, where no controller does.
        companion: what is trained and scored beside it; None: nothing.
        caution: multiplier of all rates, below 1 after the run has diverged.
        bfloat16: the head multiplies in bfloat16; weights, losses and updates stay float32.
        monitor: the controller's drift detection, which also sees inputs; None: it needs only
            labels and scores.
    """

    tables: Tables
    head: nn.Module
    optimizer: Optimizer
    controller: Controller | None
    device: torch.device
    dense_cost: Cost
    full_rows: Mapping[str, int]
    lr: float
    rows_lr: float
    guard: FiniteSteps | None = None
    companion: Companion | None = None
    caution: float = 1.0
    bfloat16: bool = False
    monitor: DriftMonitor | None = None

    @torch.inference_mode()
    def score(self, batch: MiniBatch) -> Probabilities:
        """Probabilities [B] by the model as it is. Changes nothing: unknown ids stay unknown."""
        if self.head.training:
            self.head.eval()
        rows = self.tables(batch.ids, batch.offsets)
        probabilities: Probabilities = torch.sigmoid(self._logits(batch, rows)).cpu().numpy()
        return probabilities

    def watch(self, batch: MiniBatch, scores: Probabilities) -> None:
        """Show the rows and the probabilities [B] just given to them to label-free detection."""
        if self.monitor is not None:
            self.monitor.observe_inputs(batch.dense, batch.first_ids(), scores)

    def learn(self, batch: MiniBatch, soft_targets: SoftTargets | None = None) -> None:
        """One optimizer step on a batch in which every row is labelled.

        A step whose gradients are not finite is dropped, and the rows' with it.

        Arguments: ``soft_targets`` are learned beside the labels (distillation).
        """
        if not self.head.training:
            self.head.train()
        rows = self.tables.learnable(batch.ids, batch.offsets)
        logits = self._logits(batch, rows)
        loss = binary_cross_entropy_with_logits(logits, self._move(batch.label))
        if soft_targets is not None:
            opinion, weight = soft_targets
            soft = binary_cross_entropy_with_logits(logits, opinion)
            loss = (1 - weight) * loss + weight * soft
        loss.backward()  # type: ignore[no-untyped-call]
        dropped = self.dropped_steps
        self.optimizer.step()
        if self.dropped_steps == dropped:
            self.tables.step()
        else:
            self.tables.discard()
        self.optimizer.zero_grad()

    def soft_targets(self, batch: MiniBatch) -> SoftTargets | None:
        """Let the companion learn the batch first; what it thought of it, if that is to be learned.

        Raises:
            DivergedError: the companion belongs to the method and has diverged.
        """
        return None if self.companion is None else self.companion.learn(batch)

    def regulate(
        self, batch: MiniBatch, scores: Probabilities, reference: Probabilities | None = None
    ) -> tuple[Event, ...]:
        """Let the controller see the batch just learned, and change the model if it wants to.

        Arguments: ``scores`` [B] are the probabilities given at the rows' event time, ``reference``
        [B] those of the companion.

        Raises:
            DivergedError: too many steps in a row were dropped.
        """
        if self.controller is None:
            return ()
        given = {} if reference is None else {"reference": reference}
        if self.monitor is not None:
            self.monitor.show(batch.dense)
        events = self.controller.step(
            labels=batch.label, scores=scores, event_time=int(batch.event_time[-1]), **given
        )
        if any(event.kind == "drift" for event in events):
            self.tables.drifted()
        return events

    def check_steps(self) -> int:
        """Steps dropped since the last call, where no controller counts them.

        Raises:
            DivergedError: too many in a row.
        """
        return 0 if self.guard is None else self.guard.take()

    def guards(self) -> dict[str, Stateful]:
        """The guard by its name in a checkpoint, where there is one."""
        return {} if self.guard is None else {"guard": self.guard}

    def end_window(self) -> None:
        """A window has been learned: candidates contest the weakest rows."""
        self.tables.adapt()
        if self.companion is not None:
            self.companion.end_window(self.tables)

    @property
    def cost(self) -> Cost:
        """What the head costs per example at this moment."""
        return self.dense_cost if self.controller is None else self.controller.cost()

    @property
    def dropped_steps(self) -> int:
        """Optimizer steps dropped so far because gradients were not finite."""
        if self.controller is not None:
            return self.controller.dropped_steps
        return 0 if self.guard is None else self.guard.dropped

    def slow_down(self, multiplier: float) -> None:
        """All rates from now on: the configured ones times ``multiplier``."""
        self.caution = multiplier
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * multiplier
        self.tables.lr = self.rows_lr * multiplier
        if self.companion is not None:
            self.companion.slow_down(multiplier)

    def not_finite(self) -> str:
        """Where the method's models hold values that are not finite, in words; empty: nowhere."""
        found = not_finite(self.head, "the head")
        if not found and not self.tables.weights_finite():
            found = "the embedding tables"
        if not found and self.companion is not None:
            found = self.companion.not_finite()
        return found

    def training_cost(self, cost: Cost) -> Cost:
        """``cost`` of the deployed head, with what of the companion belongs to the method."""
        beside = 0 if self.companion is None else self.companion.method_macs
        return cost._replace(macs_training=cost.macs_training + beside)

    def _logits(self, batch: MiniBatch, rows: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits: Tensor = self.head(self._move(batch.dense), rows)
        return logits.float()

    def _move(self, values: npt.NDArray[np.float32]) -> Tensor:
        """To the device; without waiting if the memory is pinned."""
        return torch.from_numpy(values).to(self.device, non_blocking=True)
