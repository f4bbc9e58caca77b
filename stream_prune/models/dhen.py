"""The head of DHEN: layers of ensembles of interactions."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stream_prune.models.head_config import HeadConfig
from stream_prune.models.interactions import (
    Convolution,
    CrossInteraction,
    DotInteraction,
    Interaction,
    LinearInteraction,
    MixVectors,
    SelfAttention,
)
from stream_prune.models.mlp import mlp
from stream_prune.models.standardise import RunningStandardise

INTERACTIONS = ("dlrm", "attention", "convolution", "linear", "dcn")


@dataclass(frozen=True)
class DHENHeadConfig(HeadConfig):
    """Sizes of a :class:`DHENHead`.

    Args:
        dense: N, the dense features; 0 is allowed.
        tables: F, the categorical features.
        dim: D, the embedding dimension.
        bottom: hidden widths of the bottom MLP, which ends in D.
        top: hidden widths of the top MLP, which ends in the logit.
        layers: ensembles, one upon the other.
        interactions: of each layer: dlrm, attention, convolution, linear, dcn; at least one.
        ensemble: how a layer's interactions become one: concat, sum or weighted_sum.
        vectors: L, that each interaction gives.
        projected: K, mixtures of dlrm.
        hidden: hidden units of dlrm's MLP and of attention's feed-forward part.
        heads, head_dim: attention heads, and the width of each.
        channels: of convolution.
        rank: of dcn's cross layer.

    Raises:
        ValueError: a size out of range, by name.
    """

    bottom: tuple[int, ...]
    top: tuple[int, ...]
    layers: int = 2
    interactions: tuple[str, ...] = ("dlrm", "linear")
    ensemble: Literal["concat", "sum", "weighted_sum"] = "concat"
    vectors: int = 8
    projected: int = 8
    hidden: int = 64
    heads: int = 4
    head_dim: int = 8
    channels: int = 8
    rank: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_widths("bottom", "top")
        sizes = ("vectors", "projected", "hidden", "heads", "head_dim", "channels", "rank")
        self.check(1, "layers", *sizes)
        if not self.interactions or not set(self.interactions) <= set(INTERACTIONS):
            raise ValueError(
                f"interactions = {self.interactions}: must be one or more of "
                f"{', '.join(INTERACTIONS)}"
            )
        if self.ensemble not in ("concat", "sum", "weighted_sum"):
            raise ValueError(f"ensemble = {self.ensemble!r}: must be concat, sum or weighted_sum")


class DHENLayer(nn.Module):
    """``LayerNorm(ensemble_i interaction_i(x) + shortcut(x))`` of x [B, m, D].

    An interaction that is not present counts as zeros, and is not run.

    Args:
        config: of the head.
        vectors: m, that the layer is given.

    Attributes:
        outputs: vectors that it gives: L, or L per interaction with the ensemble concat.
    """

    def __init__(self, config: DHENHeadConfig, vectors: int) -> None:
        super().__init__()
        self.ensemble = config.ensemble
        self.interactions = nn.ModuleList(
            _interaction(kind, config, vectors) for kind in config.interactions
        )
        self.vectors, parts = config.vectors, len(config.interactions)
        self.outputs = config.vectors * (parts if config.ensemble == "concat" else 1)
        if config.ensemble == "weighted_sum":
            self.weights = nn.Parameter(torch.full((parts,), 1.0 / parts))
        self.shortcut: nn.Module = nn.Identity()
        if vectors != self.outputs:
            self.shortcut = MixVectors(vectors, self.outputs)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, outputs, D] of [B, m, D]."""
        there = [part for part in self.interactions if part.present]
        total = self.shortcut(x)
        if self.ensemble == "concat":
            absent = x.new_zeros((x.shape[0], self.vectors, x.shape[2]))
            parts = [part(x) if part.present else absent for part in self.interactions]
            total = total + torch.cat(parts, 1)
        elif self.ensemble == "sum" and there:
            total = total + torch.stack([part(x) for part in there]).sum(0)
        elif there:
            joined = torch.stack([part(x) for part in there], -1)
            total = total + joined @ self._weights()
        normalised: Tensor = self.norm(total)
        return normalised

    def _weights(self) -> Tensor:
        """Of the interactions that are present."""
        places = [place for place, part in enumerate(self.interactions) if part.present]
        if len(places) == len(self.interactions):
            return self.weights
        return self.weights[places]


class DHENHead(nn.Module):
    """Deep and hierarchical ensemble network (Zhang et al. 2022, arXiv 2203.11014).

    x_0 [B, m, D] are the F embeddings and one vector that the bottom MLP makes of the N
    standardised dense features (without these the embeddings alone: m = F). Each layer is
    x_{n+1} = LayerNorm(ensemble_i interaction_i(x_n) + shortcut(x_n)), the norm over D; the
    shortcut is a linear map among vectors where their number changes, else nothing. The vectors
    of the last layer, side by side, go through the top MLP to the logit.

    Units are what lies inside the interactions: mixtures, hidden units, whole heads, channels,
    cross ranks (:mod:`.interactions`), and the hidden units of both MLPs. What a layer adds up
    and normalises is a residual stream and stays: L and D. A whole interaction is a unit as well:
    left out, none of its products is made, and what the layer adds up is the others and the
    shortcut. In a layer one stays.

    Differs from the paper in: the paper gives no sizes and leaves open what a layer's modules
    look like inside; dcn is a cross layer of low rank (:class:`.CrossLayer`) rather than
    W (x x^T) + b, and all interactions give the same number of vectors.
    """

    def __init__(self, config: DHENHeadConfig) -> None:
        super().__init__()
        self.config = config
        vectors = config.tables
        if config.dense:
            vectors += 1
            self.standardise = RunningStandardise(config.dense)
            self.bottom = mlp((config.dense, *config.bottom, config.dim))
            self.bottom.append(nn.ReLU(inplace=True))
        self.layers = nn.ModuleList()
        for _ in range(config.layers):
            layer = DHENLayer(config, vectors)
            self.layers.append(layer)
            vectors = layer.outputs
        self.top = mlp((vectors * config.dim, *config.top, 1))

    def forward(self, dense: Tensor, emb: Tensor) -> Tensor:
        """Logits [B] of dense features [B, N] and embeddings [B, F, D], float32."""
        x = emb
        if self.config.dense:
            x = torch.cat([self.bottom(self.standardise(dense)).unsqueeze(1), emb], 1)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.top(x.flatten(1)).squeeze(1)
        return logits


def _interaction(kind: str, config: DHENHeadConfig, vectors: int) -> Interaction:
    dim, outputs = config.dim, config.vectors
    if kind == "dlrm":
        return DotInteraction(vectors, dim, outputs, config.projected, config.hidden)
    if kind == "attention":
        heads, head_dim = config.heads, config.head_dim
        return SelfAttention(vectors, dim, outputs, heads, head_dim, config.hidden)
    if kind == "convolution":
        return Convolution(vectors, outputs, config.channels)
    if kind == "dcn":
        return CrossInteraction(vectors, dim, outputs, config.rank)
    return LinearInteraction(vectors, outputs)
