"""The head of DLRM: dense features and embeddings in, a logit out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stream_prune.models.head_config import HeadConfig
from stream_prune.models.mlp import mlp
from stream_prune.models.projected_dots import ProjectedDots
from stream_prune.models.standardise import RunningStandardise


@dataclass(frozen=True)
class DLRMHeadConfig(HeadConfig):
    """Sizes of a :class:`DLRMHead`.

    Args:
        dense: N, the dense features; 0 is allowed.
        tables: F, the categorical features.
        dim: D, the embedding dimension.
        bottom: hidden widths of the bottom MLP, which ends in D.
        top: hidden widths of the top MLP, which ends in the logit.
        projected: K, mixtures of the vectors that each vector is multiplied with; 0: every vector
            is multiplied with every other.

    Raises:
        ValueError: a size out of range, by name.
    """

    bottom: tuple[int, ...]
    top: tuple[int, ...]
    projected: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_widths("bottom", "top")
        self.check(0, "projected")


class PairwiseDots(torch.autograd.Function):
    """Dot products of all pairs [B, P] of vectors [B, n, D], by two gathers.

    The backward of indexing is a scatter, three times as slow on CPU as this whole function.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, triangle: Tensor, mirror: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, mirror)
        return _pairs(vectors, triangle)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        vectors, mirror = ctx.saved_tensors
        n = vectors.shape[1]
        padded = torch.cat([gradient, gradient.new_zeros(gradient.shape[0], 1)], 1)
        products = padded.gather(1, mirror.expand(gradient.shape[0], -1)).view(-1, n, n)
        # Under autocast the products were taken in bfloat16, of vectors that may be float32.
        return torch.bmm(products.to(vectors.dtype), vectors), None, None


def _pairs(vectors: Tensor, triangle: Tensor) -> Tensor:
    products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
    return products.index_select(1, triangle)


class DLRMHead(nn.Module):
    """Bottom MLP, dot interaction, top MLP (Naumov et al. 2019, section 2.1).

    Dense features are standardised by running statistics and go through the bottom MLP to a vector
    of D; the dot products of all pairs among it and the F embeddings, and the vector itself, go
    through the top MLP to a logit. All layers but the last have a ReLU, the bottom's last
    included. Without dense features a learned vector takes the bottom's place, so that each
    embedding still has a term of its own.

    With ``projected`` the products are those of the vectors with K mixtures of them
    (:mod:`.projected_dots`): the "advanced" form, cheaper where features are many, and a mixture
    can be pruned.
    """

    triangle: Tensor
    mirror: Tensor

    def __init__(self, config: DLRMHeadConfig) -> None:
        super().__init__()
        self.config = config
        n, dim = config.tables + 1, config.dim
        if config.dense:
            self.standardise = RunningStandardise(config.dense)
            self.bottom = mlp((config.dense, *config.bottom, dim))
            self.bottom.append(nn.ReLU())
        else:
            self.constant = nn.Parameter(torch.randn(dim) * dim**-0.5)
        if config.projected:
            self.top = mlp((dim + n * config.projected, *config.top, 1))
            self.dots = ProjectedDots(n, config.projected)
            return
        self.top = mlp((dim + n * (n - 1) // 2, *config.top, 1))
        left, right = torch.tril_indices(n, n, -1)
        # Product (i, j) and (j, i) take the gradient of their pair, (i, i) the padding's zero.
        mirror = torch.full((n, n), left.numel())
        mirror[left, right] = mirror[right, left] = torch.arange(left.numel())
        self.register_buffer("triangle", left * n + right, persistent=False)
        self.register_buffer("mirror", mirror.flatten(), persistent=False)

    def forward(self, dense: Tensor, emb: Tensor) -> Tensor:
        """Logits [B] of dense features [B, N] and embeddings [B, F, D], float32."""
        if self.config.dense:
            vector = self.bottom(self.standardise(dense))
        else:
            vector = self.constant.expand(emb.shape[0], -1)
        vectors = torch.cat([vector.unsqueeze(1), emb], 1)
        if self.config.projected:
            dots: Tensor = self.dots(vectors)
        elif torch.is_grad_enabled():
            dots = PairwiseDots.apply(  # type: ignore[no-untyped-call]
                vectors, self.triangle, self.mirror
            )
        else:
            dots = _pairs(vectors, self.triangle)
        logits: Tensor = self.top(torch.cat([vector, dots], 1)).squeeze(1)
        return logits
