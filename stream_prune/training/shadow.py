"""The dense shadow: a full-size head kept trained, from which the deployed head is derived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from stream_prune.embedding.widths import Tables
from stream_prune.errors import DivergedError
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.finite import FiniteSteps
from stream_prune.sparsity.twin import Twin
from stream_prune.stateful import Stateful
from stream_prune.training.companion import Probabilities, SoftTargets, not_finite
from stream_prune.training.torch_state import ModuleState, OptimizerState


@dataclass
class Shadow:
    """A dense head beside the deployed one, on the same embeddings.

    It reads the deployed model's tables and trains none of their rows: the deployed head's gradient
    does that, from the first batch on. Both heads start from the same bits and both learn from the
    start, so in the warm-up they are equal and one of them is idle work; that keeps every step of a
    run the same, and is counted.

    Args:
        twin: the head and its optimizer, as the controller knows them.
        guard: drops the steps whose gradients are not finite.
        tables: the deployed model's.
        device: where all of it lives.
        cost: per example.
        lr: the optimizer's rate.
        soft_weight: weight of its scores as soft targets at this moment; 0: none are given.
    """

    twin: Twin
    guard: FiniteSteps
    tables: Tables
    device: torch.device
    cost: Cost
    lr: float
    soft_weight: Callable[[], float] = field(default=lambda: 0.0)
    name = "the dense shadow"

    @property
    def method_macs(self) -> int:
        return self.cost.macs_training

    @torch.inference_mode()
    def score(self, batch: MiniBatch) -> Probabilities:
        self.twin.model.eval()
        probabilities: Probabilities = torch.sigmoid(self._logits(batch)).cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise DivergedError(f"the dense shadow's scores are not finite: {self.not_finite()}")
        return probabilities

    def learn(self, batch: MiniBatch) -> SoftTargets | None:
        """One step; what it thought of the batch before it are the soft targets."""
        self.twin.model.train()
        logits = self._logits(batch)
        labels = torch.from_numpy(batch.label).to(self.device)
        binary_cross_entropy_with_logits(logits, labels).backward()  # type: ignore[no-untyped-call]
        self.twin.optimizer.step()
        self.twin.optimizer.zero_grad()
        self.guard.take()
        weight = self.soft_weight()
        return SoftTargets(torch.sigmoid(logits.detach()), weight) if weight else None

    def end_window(self, deployed: Tables) -> None:
        """Nothing: its tables are the deployed ones."""

    def slow_down(self, multiplier: float) -> None:
        for group in self.twin.optimizer.param_groups:
            group["lr"] = self.lr * multiplier

    def not_finite(self) -> str:
        return not_finite(self.twin.model, "the dense shadow")

    def figures(self) -> Mapping[str, Any]:
        return {
            "kind": "shadow",
            **self.cost._asdict(),
            "memory_bytes": self.twin.nbytes,
            "dropped_steps": self.guard.dropped,
        }

    def parts(self) -> Mapping[str, Stateful]:
        return {
            "shadow": ModuleState(self.twin.model),
            "shadow_optimizer": OptimizerState(self.twin.optimizer),
            "shadow_guard": self.guard,
        }

    def _logits(self, batch: MiniBatch) -> Tensor:
        with torch.no_grad():
            rows = self.tables(batch.ids, batch.offsets)
        dense = torch.from_numpy(batch.dense).to(self.device, non_blocking=True)
        logits: Tensor = self.twin.model(dense, rows)
        return logits
