"""The head of DCN-V2: explicit crosses of low rank, and an MLP behind or beside them."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stream_prune.models.head_config import HeadConfig
from stream_prune.models.mlp import mlp
from stream_prune.models.standardise import RunningStandardise


@dataclass(frozen=True)
class DCNHeadConfig(HeadConfig):
    """Sizes of a :class:`DCNHead`.

    Args:
        dense: N, the dense features; 0 is allowed.
        tables: F, the categorical features.
        dim: D, the embedding dimension.
        top: hidden widths of the MLP; none with the stacked structure: crosses only.
        layers: cross layers.
        rank: R, of their matrices; None: full matrices, which have no units.
        structure: stacked: the MLP reads the crosses; parallel: it stands beside them.

    Raises:
        ValueError: a size out of range, by name.
    """

    top: tuple[int, ...]
    layers: int = 3
    rank: int | None = 64
    structure: Literal["stacked", "parallel"] = "stacked"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_widths("top")
        self.check(1, "layers")
        if self.rank is not None:
            self.check(1, "rank")
        if self.structure not in ("stacked", "parallel"):
            raise ValueError(f"structure = {self.structure!r}: must be stacked or parallel")
        if self.structure == "parallel" and not self.top:
            raise ValueError("top = (): the parallel structure needs a hidden layer")


class CrossLayer(nn.Module):
    """``x0 * (U V x + b) + x`` for x0, x [B, W], with V [R, W] and U [W, R].

    Args:
        width: W.
        rank: R; None: one full matrix [W, W] instead of U V.
    """

    def __init__(self, width: int, rank: int | None) -> None:
        super().__init__()
        self.mix: nn.Module = nn.Linear(width, width)
        if rank is not None:
            self.mix = nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        """The crosses [B, W] of one degree more than x."""
        crossed: Tensor = x0 * self.mix(x) + x
        return crossed


class DCNHead(nn.Module):
    """Cross network and deep network of DCN-V2 (Wang et al. 2021, arXiv 2008.13535).

    x0 [B, W] are the F embeddings and the N standardised dense features side by side, so
    W = F D + N. Cross layers x_{l+1} = x0 * (U_l V_l x_l + b_l) + x_l build products of ever more
    features. Stacked, the logit is w . deep(x_L) + c; parallel, it is w . [x_L, deep(x0)] + c.
    The layers of ``deep`` all have a ReLU.

    The R columns of a cross layer's matrix are units, and so are the hidden units. What the cross
    layers write is a residual stream as wide as x0 and stays.

    Differs from the paper in: one low-rank matrix per layer, no mixture of low-rank experts with
    gates and no nonlinearity between U and V.
    """

    def __init__(self, config: DCNHeadConfig) -> None:
        super().__init__()
        self.config = config
        width = config.tables * config.dim + config.dense
        self.standardise = RunningStandardise(config.dense)
        self.cross = nn.ModuleList(CrossLayer(width, config.rank) for _ in range(config.layers))
        self.deep = mlp((width, *config.top))
        if config.top:
            self.deep.append(nn.ReLU(inplace=True))
        read = (width, *config.top)[-1]
        self.out = nn.Linear(read + (width if config.structure == "parallel" else 0), 1)

    def forward(self, dense: Tensor, emb: Tensor) -> Tensor:
        """Logits [B] of dense features [B, N] and embeddings [B, F, D], float32."""
        x0 = torch.cat([emb.flatten(1), self.standardise(dense)], 1)
        x = x0
        for layer in self.cross:
            x = layer(x0, x)
        if self.config.structure == "parallel":
            x = torch.cat([x, self.deep(x0)], 1)
        else:
            x = self.deep(x)
        logits: Tensor = self.out(x).squeeze(1)
        return logits
