"""Architectures that a recommender engineer brings along, written as users write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PackedAttention(nn.Module):
    """Self-attention over fields with one projection for queries, keys and values."""

    def __init__(self, dim: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        rows, fields, _ = x.shape
        packed = self.qkv(x).view(rows, fields, 3, self.num_heads, self.head_dim)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(2, 3) / self.head_dim**0.5).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(rows, fields, -1))


class NamedSizesAttention(nn.Module):
    """Self-attention that keeps its sizes as attributes and reshapes by them."""

    def __init__(self, dim: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.num_attention_heads, self.attention_head_size = heads, dim // heads
        self.all_head_size = dim
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.output = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def _split(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.num_attention_heads, self.attention_head_size)
        return x.view(shape).permute(0, 2, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        query, key = self._split(self.query(x)), self._split(self.key(x))
        context = F.scaled_dot_product_attention(query, key, self._split(self.value(x)))
        context = context.permute(0, 2, 1, 3).contiguous()
        return self.output(context.view(*context.shape[:-2], self.all_head_size))


class FieldAttention(nn.Module):
    """Fields [B, F, D] through a kind of attention with a residual stream, then an MLP."""

    def __init__(self, attention: nn.Module, fields: int = 5, dim: int = 8) -> None:
        super().__init__()
        self.attention, self.norm = attention, nn.LayerNorm(dim)
        self.deep = nn.Sequential(nn.Linear(fields * dim, 12), nn.ReLU(), nn.Linear(12, 1))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.attention, nn.MultiheadAttention):
            attended, _ = self.attention(x, x, x)
        else:
            attended = self.attention(x)
        return self.deep(self.norm(x + attended).flatten(1)).squeeze(1)


class BehaviourTransformer(nn.Module):
    """A click history through torch's own encoder layer, beside the features of the item."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(dim, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Sequential(nn.Linear(2 * dim, 12), nn.PReLU(12), nn.Linear(12, 1))

    def forward(self, history: Tensor, item: Tensor) -> Tensor:
        encoded = self.encoder(history).mean(dim=1)
        return self.head(torch.cat([encoded, item], dim=1)).squeeze(1)


class Dice(nn.Module):
    """The data-adaptive activation of DIN (Zhou et al., arXiv 1706.06978)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(units, affine=False)
        self.alpha = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.norm(x))
        return gate * x + (1 - gate) * self.alpha * x


class InterestNetwork(nn.Module):
    """DIN: an activation unit weighs the clicks of a history by the item, Dice between layers."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.unit = nn.Sequential(nn.Linear(4 * dim, 10), nn.Sigmoid(), nn.Linear(10, 1))
        self.first, self.dice = nn.Linear(2 * dim, 12), Dice(12)
        self.second, self.prelu = nn.Linear(12, 6), nn.PReLU()
        self.out = nn.Linear(6, 1)

    def forward(self, history: Tensor, item: Tensor) -> Tensor:
        query = item[:, None].expand_as(history)
        pair = torch.cat([query, history, query - history, query * history], dim=2)
        interest = (self.unit(pair) * history).sum(dim=1)
        x = self.dice(self.first(torch.cat([interest, item], dim=1)))
        return self.out(self.prelu(self.second(x))).squeeze(1)


class ChannelGates(nn.Module):
    """Squeeze-and-excitation: channels of a convolution are scaled by gates computed from them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3, padding=1)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        gates = torch.sigmoid(self.excite(F.silu(self.squeeze(x.mean(dim=2)))))
        return self.out((x * gates[:, :, None]).amax(dim=2)).squeeze(1)


class Recurrent(nn.Module):
    """GRU4Rec: a session's clicks through a GRU, the last state through an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 6)
        self.gru = nn.GRU(6, 8, batch_first=True)
        self.deep = nn.Sequential(nn.Linear(8, 10), nn.Tanh(), nn.Linear(10, 1))

    def forward(self, clicks: Tensor) -> Tensor:
        states, _ = self.gru(torch.tanh(self.project(clicks)))
        return self.deep(states[:, -1]).squeeze(1)


class TwoTowers(nn.Module):
    """Users and items in one space: the score is the cosine of the towers' outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.user = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))
        self.item = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 8))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        user, item = F.normalize(self.user(user), dim=1), F.normalize(self.item(item), dim=1)
        return 5.0 * (user * item).sum(dim=1)


class MultiTask(nn.Module):
    """MMoE (Ma et al. 2018): experts shared by tasks, a gate and a tower a task."""

    def __init__(self, experts: int = 3, tasks: int = 2) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
            for _ in range(experts)
        )
        self.gates = nn.ModuleList(nn.Linear(6, experts) for _ in range(tasks))
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 1)) for _ in range(tasks)
        )

    def forward(self, x: Tensor) -> Tensor:
        opinions = torch.stack([expert(x) for expert in self.experts], dim=1)
        tasks = []
        for gate, tower in zip(self.gates, self.towers, strict=True):
            mixed = (gate(x).softmax(dim=1)[:, :, None] * opinions).sum(dim=1)
            tasks.append(tower(mixed).squeeze(1))
        return torch.stack(tasks, dim=1)


class MachineAndDeep(nn.Module):
    """Factorisation machine beside an MLP over dense features and embeddings of its own."""

    def __init__(self, vocabulary: int = 20, fields: int = 3, dim: int = 4, dense: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        self.linear = nn.EmbeddingBag(vocabulary, 1, mode="sum")
        width = fields * dim + dense
        self.deep = nn.Sequential(
            nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8), nn.LeakyReLU()
        )
        self.out = nn.Linear(8, 1)

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        emb = self.embedding(ids)
        pairs = 0.5 * (emb.sum(dim=1).square() - emb.square().sum(dim=1)).sum(dim=1)
        deep = self.out(self.deep(torch.cat([emb.flatten(1), dense], dim=1)))
        return (self.linear(ids) + deep).squeeze(1) + pairs


class LowRankCross(nn.Module):
    """DCN-V2's cross layers of low rank (Wang et al., arXiv 2008.13535), then an MLP."""

    def __init__(self, width: int = 10, rank: int = 6, layers: int = 2) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))
        self.deep = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, 1))

    def forward(self, x: Tensor) -> Tensor:
        crossed = x
        for down, up in zip(self.down, self.up, strict=True):
            crossed = x * up(down(crossed)) + crossed
        return self.deep(crossed).squeeze(1)


class SharedEncoder(nn.Module):
    """One encoder for the candidate and for what was clicked before."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 6))
        self.deep = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, candidate: Tensor, clicked: Tensor) -> Tensor:
        both = [self.encoder(candidate), self.encoder(clicked)]
        return self.deep(torch.cat(both, dim=1)).squeeze(1)
