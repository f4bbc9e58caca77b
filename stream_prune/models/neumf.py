"""NeuMF: a matrix factorisation and an MLP over user and item, joined in the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class NeuMFConfig:
    """Sizes of a :class:`NeuMF`; the defaults are those of the DSL paper's experiments.

    Args:
        users: U.
        items: I.
        dim: D, of the factorisation's embeddings, and of the MLP's.
        hidden: widths of the MLP's layers.

    Raises:
        ValueError: a size out of range, by name.
    """

    users: int
    items: int
    dim: int = 16
    hidden: tuple[int, ...] = (32, 16, 8)

    def __post_init__(self) -> None:
        for name in ("users", "items", "dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be 1 or more")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden = {self.hidden}: needs widths of 1 or more")


class NeuMF(nn.Module):
    """Neural matrix factorisation.

    With embeddings p, q of the factorisation and p', q' of the MLP for user u and item i::

        logit(u, i) = w . [p_u * q_i ; MLP([p'_u ; q'_i])] + b,   ReLU after each layer of the MLP
        loss        = binary cross-entropy over observed pairs and sampled negatives

    Source: He et al., Neural Collaborative Filtering, WWW 2017 (arXiv 1708.05031), equation 12;
    embeddings start as N(0, 0.01^2) like there. Differs from the paper in: both parts are trained
    together from the start (the paper also shows them pre-trained one by one), and w starts as
    torch's linear layers do.
    """

    def __init__(self, config: NeuMFConfig) -> None:
        super().__init__()
        self.config = config
        self.user_factors = nn.Embedding(config.users, config.dim)
        self.item_factors = nn.Embedding(config.items, config.dim)
        self.user_features = nn.Embedding(config.users, config.dim)
        self.item_features = nn.Embedding(config.items, config.dim)
        for table in (
            self.user_factors,
            self.item_factors,
            self.user_features,
            self.item_features,
        ):
            nn.init.normal_(table.weight, std=0.01)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((2 * config.dim, *config.hidden)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)
        self.output = nn.Linear(config.dim + config.hidden[-1], 1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits [B] of users [B] and items [B]."""
        product = self.user_factors(users) * self.item_factors(items)
        pair = torch.cat([self.user_features(users), self.item_features(items)], 1)
        logits: Tensor = self.output(torch.cat([product, self.mlp(pair)], 1)).squeeze(1)
        return logits

    def loss(self, users: Tensor, items: Tensor, labels: Tensor) -> Tensor:
        """Mean binary cross-entropy of pairs [B] with labels [B] of 0 and 1."""
        return F.binary_cross_entropy_with_logits(self(users, items).float(), labels)

    def scores(self, users: Tensor) -> Tensor:
        """Logits [B, I] of users [B] with every item; it makes B x I pairs at once."""
        items = torch.arange(self.config.items, device=users.device)
        pairs: Tensor = self(users.repeat_interleave(len(items)), items.repeat(len(users)))
        return pairs.view(len(users), len(items))
