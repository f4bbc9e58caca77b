"""The models, what they learn from, and how they are made sparse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stream_prune.models.lightgcn import LightGCN, LightGCNConfig
from stream_prune.models.multvae import MultVAE, MultVAEConfig
from stream_prune.models.neumf import NeuMF, NeuMFConfig
from stream_prune.training.implicit_batches import (
    ImplicitBatches,
    Pairwise,
    Pointwise,
    WholeUsers,
)
from stream_prune.training.interaction_split import InteractionSplit

Spread = Literal["uniform", "erk"]


@dataclass(frozen=True)
class Variant:
    """Dense, or held at so many zeros by DSL, spread uniformly (the paper) or by ERK."""

    sparsity: float = 0.0
    spread: Spread = "uniform"

    @property
    def name(self) -> str:
        if not self.sparsity:
            return "dense"
        return f"dsl {self.sparsity:.0%}" + (" erk" if self.spread == "erk" else "")


DENSE = Variant()
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
VARIANTS = (
    DENSE,
    *(Variant(sparsity) for sparsity in SPARSITIES),
    *(Variant(sparsity, "erk") for sparsity in SPARSITIES[-2:]),
)
QUICK = (DENSE, Variant(0.8), Variant(0.95), Variant(0.95, "erk"))


@dataclass(frozen=True)
class Contender:
    """A model, what it learns from, and for how long.

    Attributes:
        make: the model for so many users and items and the training pairs.
        batches: its kind of mini-batches.
        example: inputs of its forward pass.
        examples: of a training step that are multiplied (negatives included).
        epochs: passes over the training pairs.
        rates: learning rates to choose from.
    """

    make: Callable[[InteractionSplit], nn.Module]
    batches: Callable[[InteractionSplit], ImplicitBatches]
    example: Callable[[InteractionSplit], tuple[Tensor, ...]]
    examples: int
    epochs: int
    rates: tuple[float, ...]


def pairs(parts: InteractionSplit) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(parts.train.users), torch.from_numpy(parts.train.items)


def sizes(parts: InteractionSplit) -> tuple[int, int]:
    return parts.train.user_count, parts.train.item_count


CONTENDERS = {
    "NeuMF": Contender(
        make=lambda parts: NeuMF(NeuMFConfig(*sizes(parts))),
        batches=lambda parts: Pointwise(parts.train, 256, negatives=4),
        example=lambda _: (torch.arange(4), torch.arange(4)),
        examples=5 * 256,
        epochs=20,
        rates=(0.001, 0.003, 0.01),
    ),
    "LightGCN": Contender(
        make=lambda parts: LightGCN(LightGCNConfig(*sizes(parts)), *pairs(parts)),
        batches=lambda parts: Pairwise(parts.train, 1024),
        example=lambda _: (torch.arange(4), torch.arange(4)),
        examples=1024,
        epochs=60,
        rates=(0.003, 0.01, 0.03),
    ),
    "MultVAE": Contender(
        make=lambda parts: MultVAE(MultVAEConfig(sizes(parts)[1])),
        batches=lambda parts: WholeUsers(parts.train, 100, kl_steps=2000),
        example=lambda parts: (torch.rand(4, sizes(parts)[1]),),
        examples=100,
        epochs=80,
        rates=(0.0005, 0.001, 0.003),
    ),
}
