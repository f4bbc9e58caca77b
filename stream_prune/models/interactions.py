"""The interactions that DHEN's layers are ensembles of: each maps [B, m, D] to [B, L, D].

m vectors come in and L go out, whatever happens in between; so any of them can be added up with,
or put beside, any other. Each can be left out as a whole: a layer goes on as if one whose
``present`` is 0 had given zeros, which it would without its ``ends``.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from stream_prune.models.dcn import CrossLayer
from stream_prune.models.mlp import mlp
from stream_prune.models.projected_dots import ProjectedDots


class Interaction(nn.Module):
    """One of an ensemble.

    Attributes:
        present: 1, or 0 where its layer leaves it out.
        ends: its last parameters, by name; with these at zero it gives zeros.
    """

    present: int = 1
    ends: tuple[str, ...] = ("mix.linear.weight",)


class MixVectors(nn.Module):
    """``W x`` for vectors x [B, m, D], with W [L, m]: a linear map from m vectors to L.

    Without a bias: one number for all D entries of a vector is what the layer's norm takes away.
    """

    def __init__(self, vectors: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(vectors, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] of [B, m, D]."""
        mixed: Tensor = self.linear(x.transpose(1, 2)).transpose(1, 2)
        return mixed


class LinearInteraction(Interaction, MixVectors):
    """``W x``, and nothing else."""

    ends = ("linear.weight",)


class DotInteraction(Interaction):
    """Advanced DLRM: an MLP over the products with K mixtures. Units: mixtures, hidden units."""

    ends = ("deep.2.weight", "deep.2.bias")

    def __init__(self, vectors: int, dim: int, outputs: int, projected: int, hidden: int) -> None:
        super().__init__()
        self.shape = (-1, outputs, dim)
        self.dots = ProjectedDots(vectors, projected)
        self.deep = mlp((vectors * projected, hidden, outputs * dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] of [B, m, D]."""
        vectors: Tensor = self.deep(self.dots(x)).view(self.shape)
        return vectors


class SelfAttention(Interaction):
    """One transformer encoder layer among the m vectors, then a mix of them.

    Units: whole heads, and the hidden units of the feed-forward part; both sums are normalised
    and stay D wide.
    """

    def __init__(
        self, vectors: int, dim: int, outputs: int, heads: int, head_dim: int, hidden: int
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, head_dim
        self.query = nn.Linear(dim, heads * head_dim)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)  # a softmax takes a bias away
        self.value = nn.Linear(dim, heads * head_dim)
        self.join = nn.Linear(heads * head_dim, dim)
        self.attended, self.fed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.deep = mlp((dim, hidden, dim))
        self.mix = MixVectors(vectors, outputs)

    def _split(self, x: Tensor) -> Tensor:
        """[B, heads, m, head_dim] of [B, m, heads * head_dim]."""
        return x.view(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] of [B, m, D]."""
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        heads = F.scaled_dot_product_attention(query, key, value)
        x = self.attended(x + self.join(heads.transpose(1, 2).flatten(2)))
        mixed: Tensor = self.mix(self.fed(x + self.deep(x)))
        return mixed


class Convolution(Interaction):
    """The m vectors as an image of m x D: 3 x 3 filters, a ReLU, a mix. Units: channels."""

    def __init__(self, vectors: int, outputs: int, channels: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, channels, 3, padding=1)
        self.mix = MixVectors(channels * vectors, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] of [B, m, D]."""
        mixed: Tensor = self.mix(self.filters(x.unsqueeze(1)).relu().flatten(1, 2))
        return mixed


class CrossInteraction(Interaction):
    """A cross layer of DCN-V2 over all m D entries, then a mix. Units: the columns of its rank."""

    def __init__(self, vectors: int, dim: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.cross = CrossLayer(vectors * dim, rank)
        self.mix = MixVectors(vectors, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] of [B, m, D]."""
        flat = x.flatten(1)
        mixed: Tensor = self.mix(self.cross(flat, flat).view_as(x))
        return mixed
