"""Dot products of feature vectors with a few mixtures of them, instead of all pairs."""

import torch
from torch import Tensor, nn


class ProjectedDots(nn.Module):
    """The interaction of the "advanced" DLRM: ``X (P X)^T``, with P [K, n] learned.

    All pairs of n vectors are n (n - 1) / 2 products and grow with the square of the features;
    the products of n vectors with K mixtures of them are n K. Each mixture is a unit: with it go
    its n products and nothing else, which is not so for one vector among all pairs.

    Args:
        vectors: n, how many vectors.
        projected: K, how many mixtures of them.

    Source: the AdvancedDLRM module of DHEN (arXiv 2203.11014), whose details the paper leaves
    open; the projection is the project's own reading.
    """

    def __init__(self, vectors: int, projected: int) -> None:
        super().__init__()
        self.projection = nn.Linear(vectors, projected, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Products [B, n * K] of vectors [B, n, D]."""
        mixtures = self.projection(x.transpose(1, 2))
        return torch.bmm(x, mixtures).flatten(1)
