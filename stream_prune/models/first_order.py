"""First-order terms: a weight for every id and for every dense feature."""

import torch
from torch import Tensor, nn


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
