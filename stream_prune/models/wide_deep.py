"""The head of Wide & Deep: a linear model beside an MLP, the simple end."""

import torch
from torch import Tensor, nn

from stream_prune.models.first_order import FirstOrder, FirstOrderHeadConfig
from stream_prune.models.mlp import mlp
from stream_prune.models.standardise import RunningStandardise


class WideDeepHead(nn.Module):
    """``wide + deep`` (Cheng et al. 2016, arXiv 1606.07792, section 3).

    wide = sum_f w[id_f] + v . x over the F ids and the N standardised dense features x; the
    weights of ids are the first dimension of their rows (:mod:`.first_order`). deep is an MLP over
    the other D - 1 dimensions of the F rows and x, side by side [B, F (D - 1) + N], down to one
    output, whose bias is the model's. Units are the MLP's hidden units.

    Differs from the paper in: the wide part has no crossed columns of its own (a cross that is
    wanted is a categorical column of the features), and both parts learn with the same optimizers.
    """

    def __init__(self, config: FirstOrderHeadConfig) -> None:
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
