"""The head of Wide & Deep: a linear model beside an MLP, the simple end."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stream_prune.models.first_order import FirstOrder
from stream_prune.models.head_config import HeadConfig
from stream_prune.models.mlp import mlp
from stream_prune.models.standardise import RunningStandardise


@dataclass(frozen=True)
class WideDeepHeadConfig(HeadConfig):
    """Sizes of a :class:`WideDeepHead`.

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


class WideDeepHead(nn.Module):
    """``wide + deep`` (Cheng et al. 2016, arXiv 1606.07792, section 3).

    wide = sum_f w[id_f] + v . x over the F ids and the N standardised dense features x; the
    weights of ids are the first dimension of their rows (:mod:`.first_order`). deep is an MLP over
    the other D - 1 dimensions of the F rows and x, side by side [B, F (D - 1) + N], down to one
    output, whose bias is the model's. Units are the MLP's hidden units.

    Differs from the paper in: the wide part has no crossed columns of its own (a cross that is
    wanted is a categorical column of the features), and both parts learn with the same optimizers.
    """

    def __init__(self, config: WideDeepHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.standardise = RunningStandardise(config.dense)
        self.wide = FirstOrder(config.dense)
        self.deep = mlp((config.tables * (config.dim - 1) + config.dense, *config.top, 1))

    def forward(self, dense: Tensor, emb: Tensor) -> Tensor:
        """Logits [B] of dense features [B, N] and embeddings [B, F, D], float32."""
        x = self.standardise(dense)
        wide, vectors = self.wide(x, emb)
        logits: Tensor = wide + self.deep(torch.cat([vectors.flatten(1), x], 1)).squeeze(1)
        return logits
