"""The head of DeepFM: a factorisation machine beside an MLP over the same vectors."""

import torch
from torch import Tensor, nn

from stream_prune.models.first_order import FirstOrder, FirstOrderHeadConfig
from stream_prune.models.mlp import mlp
from stream_prune.models.standardise import RunningStandardise


class DeepFMHead(nn.Module):
    """``linear + sum_{i<j} v_i . v_j + deep`` (Guo et al. 2017, arXiv 1703.04247, section 2).

    The linear terms of ids are the first dimension of their rows (:mod:`.first_order`), v_f the
    other D - 1. The pairs' sum is 1/2 (|sum_f v_f|^2 - sum_f |v_f|^2), linear in F. deep is an MLP
    over the vectors and the N standardised dense features, side by side [B, F (D - 1) + N], down
    to one output, whose bias is the model's. Units are the MLP's hidden units; the factorisation
    machine has no weights but the rows.

    Differs from the paper in: dense features have a linear term and go to the MLP as they are;
    they have no vectors in the pairs.
    """

    def __init__(self, config: FirstOrderHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.standardise = RunningStandardise(config.dense)
        self.linear = FirstOrder(config.dense)
        self.deep = mlp((config.tables * (config.dim - 1) + config.dense, *config.top, 1))

    def forward(self, dense: Tensor, emb: Tensor) -> Tensor:
        """Logits [B] of dense features [B, N] and embeddings [B, F, D], float32."""
        x = self.standardise(dense)
        linear, vectors = self.linear(x, emb)
        pairs = 0.5 * (vectors.sum(1).square() - vectors.square().sum(1)).sum(1)
        deep = self.deep(torch.cat([vectors.flatten(1), x], 1)).squeeze(1)
        logits: Tensor = linear + pairs + deep
        return logits
