"""The head of DLRM: dense features and embeddings in, a logit out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stream_prune.models.aligned import padding
from stream_prune.models.head_config import HeadConfig
from stream_prune.models.mlp import mlp
from stream_prune.models.pairwise_dots import PairwiseDots, beside_pairs
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
            self.bottom.append(nn.ReLU(inplace=True))
        else:
            self.constant = nn.Parameter(torch.randn(dim) * dim**-0.5)
        if config.projected:
            self.top = mlp((dim + n * config.projected, *config.top, 1))
            self.dots = ProjectedDots(n, config.projected)
            return
        inputs = dim + n * (n - 1) // 2
        self.top = mlp((inputs, *config.top, 1))
        self.zeros = padding(inputs)
        left, right = torch.tril_indices(n, n, -1)
        # Product (i, j) and (j, i) take the gradient of their pair, which comes after the vector's
        # dim columns; what (i, i) takes is set to zero.
        mirror = torch.zeros((n, n), dtype=torch.int64)
        mirror[left, right] = mirror[right, left] = dim + torch.arange(left.numel())
        self.register_buffer("triangle", left * n + right, persistent=False)
        self.register_buffer("mirror", mirror.flatten(), persistent=False)

    def forward(self, dense: Tensor, emb: Tensor) -> Tensor:
        """Logits [B] of dense features [B, N] and embeddings [B, F, D], float32."""
        if self.config.dense:
            vector = self.bottom(self.standardise(dense))
        else:
            vector = self.constant.expand(emb.shape[0], -1)
        if self.config.projected:
            vectors = torch.cat([vector.unsqueeze(1), emb], 1)
            read = torch.cat([vector, self.dots(vectors)], 1)
        elif torch.is_grad_enabled():
            read = PairwiseDots.apply(  # type: ignore[no-untyped-call]
                vector, emb, self.triangle, self.mirror, self.zeros if self.training else 0
            )
        else:
            vectors = torch.cat([vector.unsqueeze(1), emb], 1)
            read = beside_pairs(vector, vectors, self.triangle)
        logits: Tensor = self.top(read).squeeze(1)
        return logits
