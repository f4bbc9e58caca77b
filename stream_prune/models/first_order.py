"""First-order terms: a weight for every id and for every dense feature; the sizes of such heads."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stream_prune.models.head_config import HeadConfig


@dataclass(frozen=True)
class FirstOrderHeadConfig(HeadConfig):
    """Sizes of a head with first-order terms: DeepFM's, and that of Wide & Deep.

    Args:
        dense: N, the dense features; 0 is allowed.
        tables: F, the categorical features.
        dim: D, the embedding dimension: one for the linear weight, D - 1 for the vector.
        top: hidden widths of the MLP, which ends in the logit.

    Raises:
        ValueError: a size out of range, by name.
    """

    top: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(2, "dim")
        self.check_widths("top")


class FirstOrder(nn.Module):
    """``sum_f w[id_f] + v . x``: what a linear model of the features says.

    A weight per id is one more row per id, and a head is given rows and no ids. So the first of
    an embedding's D dimensions *is* the id's weight, and D - 1 are left for its vector: the
    weights are admitted, evicted, published and served with the rows, and learn at their rate.

    Args:
        dense: N, the dense features.
    """

    def __init__(self, dense: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dense)) if dense else None

    def forward(self, dense: Tensor, emb: Tensor) -> tuple[Tensor, Tensor]:
        """The terms [B], and the vectors [B, F, D - 1], of dense [B, N] and rows [B, F, D]."""
        terms = emb[:, :, 0].sum(1)
        if self.weight is not None:  # ONNX Runtime gives noise for a product over no features
            terms = terms + dense @ self.weight
        return terms, emb[:, :, 1:]
