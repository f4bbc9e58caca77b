"""Small models of the kinds that the plugin is used on, none of them from the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from stream_prune.sparsity.example import Example
from stream_prune.sparsity.groups import Group
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.prove import Proven, prove


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.Sigmoid(), nn.Linear(12, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1)


class SmallDLRM(nn.Module):
    """Bottom and top MLP around a dot interaction, with embeddings given from outside."""

    def __init__(self, dense: int = 5, tables: int = 3, dim: int = 4, width: int = 16) -> None:
        super().__init__()
        self.bottom = nn.Sequential(
            nn.Linear(dense, width), nn.ReLU(), nn.Linear(width, dim), nn.ReLU()
        )
        vectors = tables + 1
        self.register_buffer("pairs", torch.tril_indices(vectors, vectors, -1))
        top = vectors * (vectors - 1) // 2 + dim
        self.top = nn.Sequential(
            nn.Linear(top, width), nn.ReLU(), nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 1)
        )

    def forward(self, dense: Tensor, emb: Tensor) -> Tensor:
        bottom = self.bottom(dense)
        vectors = torch.cat([bottom[:, None], emb], dim=1)
        dots = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
        return self.top(torch.cat([bottom, dots], dim=1)).squeeze(1)


class ConvNet(nn.Module):
    """Convolutions with batch norm, a depthwise one, a flatten path, a skipping concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.conv2 = nn.Conv2d(8, 6, 1)
        self.norm2 = nn.BatchNorm2d(6)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.wide = nn.Linear(24, 10)
        self.narrow = nn.Linear(10, 6)
        self.out = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(self.depthwise(x))))
        wide = torch.tanh(self.wide(self.pool(x).flatten(1)))
        return self.out(torch.cat([self.narrow(wide).relu(), wide], dim=1)).squeeze(1)


class Sequence(nn.Module):
    """Conv1d over a sequence, then hand-written attention with a residual stream and LayerNorm."""

    def __init__(self, dim: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Conv1d(3, dim, 1)
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.join = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, 12), nn.Linear(12, dim)
        self.out = nn.Linear(dim, 1)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).transpose(1, 2)
        query, key, value = (self._split(f(x)) for f in (self.query, self.key, self.value))
        weights = torch.softmax(query @ key.transpose(2, 3) / 2.0, dim=-1)
        x = self.norm(x + self.join((weights @ value).transpose(1, 2).flatten(2)))
        x = x + self.down(torch.relu(self.up(x)))
        return self.out(x.mean(dim=1)).squeeze(1)


class Normalised(nn.Module):
    """LayerNorm over the units of one layer; a tied pair; a frozen embedding's dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.first = nn.Linear(4, 8)
        self.norm = nn.LayerNorm(8)
        self.second = nn.Linear(8, 8)
        self.third = nn.Linear(8, 8)
        self.third.weight = self.second.weight
        self.fourth = nn.Linear(8, 6)
        self.out = nn.Linear(6, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(self.embedding(ids))))
        x = torch.relu(self.third(torch.relu(self.second(x))))
        return self.out(torch.relu(self.fourth(x))).squeeze(1)


MODELS: Mapping[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, ...]]]] = {
    "mlp": (MLP, lambda rows: (torch.randn(rows, 6),)),
    "dlrm": (SmallDLRM, lambda rows: (torch.randn(rows, 5), torch.randn(rows, 3, 4))),
    "conv": (ConvNet, lambda rows: (torch.randn(rows, 2, 6, 6),)),
    "attention": (Sequence, lambda rows: (torch.randn(rows, 3, 5),)),
}

OPTIMIZERS: Mapping[str, Callable[[Any], Optimizer]] = {
    "adam": lambda params: Adam(params, 1e-2),
    "adamw": lambda params: AdamW(params, 1e-2, amsgrad=True),
    "sgd": lambda params: SGD(params, 1e-2),
    "momentum": lambda params: SGD(params, 1e-2, momentum=0.9),
    "adagrad": lambda params: Adagrad(params, 1e-2, initial_accumulator_value=0.1),
    "rmsprop": lambda params: RMSprop(params, 1e-2, momentum=0.5, centered=True),
}


def build(name: str, seed: int = 0) -> tuple[nn.Module, Callable[[int], tuple[Tensor, ...]]]:
    torch.manual_seed(seed)
    model, batch = MODELS[name]
    return model(), batch


_PROVEN: dict[str, Proven] = {}


def proven(name: str) -> Proven:
    """The groups of one of the models; they do not depend on its weights."""
    if name not in _PROVEN:
        model, batch = build(name)
        _PROVEN[name] = prove(model, Example(batch(4)))
    return _PROVEN[name]


def plans(groups: tuple[Group, ...]) -> st.SearchStrategy[Plan]:
    """Random plans that keep at least one unit of every group."""
    return st.fixed_dictionaries(
        {
            group.name: st.sets(
                st.integers(0, group.units - 1), min_size=1, max_size=group.units
            ).map(lambda kept: tuple(sorted(kept)))
            for group in groups
        }
    ).map(Plan)


def train(model: nn.Module, optimizer: Optimizer, inputs: tuple[Tensor, ...], steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (model(*inputs) - 1.0).square().mean().backward()
        optimizer.step()
