"""What is trained beside the deployed model and scores the same rows at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stream_prune.embedding.widths import Tables
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity.groups import named_tensors
from stream_prune.stateful import Stateful

Probabilities = npt.NDArray[np.float32]


class SoftTargets(NamedTuple):
    """Another model's opinion of a batch.

    Attributes:
        probabilities: float32 [B].
        weight: a, of their loss: (1 - a) x loss of the labels + a x loss of the probabilities.
    """

    probabilities: Tensor
    weight: float


class Companion(Protocol):
    """A model beside the deployed one: its dense shadow, or a small dense control.

    Its scores are the standing reference that the controller compares the deployed model with.
    """

    @property
    def name(self) -> str:
        """What it is, in words that a verdict can be put in."""
        ...

    @property
    def method_macs(self) -> int:
        """Training MACs per example that belong to the method, not to the comparison."""
        ...

    def score(self, batch: MiniBatch) -> Probabilities:
        """Probabilities [B] by the companion as it is; NaN where it has none to give."""
        ...

    def learn(self, batch: MiniBatch) -> SoftTargets | None:
        """One step on a labelled batch, before the deployed model learns it."""
        ...

    def end_window(self, deployed: Tables) -> None:
        """A window has been learned; ``deployed`` has the capacities of that moment."""
        ...

    def slow_down(self, multiplier: float) -> None:
        """The run has diverged: a model that belongs to the method goes on at lower rates."""
        ...

    def not_finite(self) -> str:
        """Where a model that belongs to the method is not finite, in words; empty: nowhere."""
        ...

    def figures(self) -> Mapping[str, Any]:
        """What it costs, as JSON values."""
        ...

    def parts(self) -> Mapping[str, Stateful]:
        """What of it goes into a checkpoint."""
        ...


def not_finite(model: nn.Module, where: str) -> str:
    """The first of a model's parameters and buffers that is not finite, in words; empty: none."""
    for name, tensor in named_tensors(model):
        if not bool(torch.isfinite(tensor).all()):
            return f"parameter {name!r} of {where}"
    return ""
