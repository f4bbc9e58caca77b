"""Two towers: users and items as vectors of one space, for retrieval by nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TwoTowerConfig:
    """Sizes of a :class:`TwoTower`.

    Args:
        users: U.
        items: I.
        dim: D, of the embeddings that the towers start from.
        hidden: widths of each tower's hidden layers.
        out: dimension of the space that both towers end in.
        temperature: tau, which cosines are divided by.

    Raises:
        ValueError: a size out of range, by name.
    """

    users: int
    items: int
    dim: int = 32
    hidden: tuple[int, ...] = (64,)
    out: int = 32
    temperature: float = 0.1

    def __post_init__(self) -> None:
        for name in ("users", "items", "dim", "out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be 1 or more")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden = {self.hidden}: widths must be 1 or more")
        if not self.temperature > 0:
            raise ValueError(f"temperature = {self.temperature}: must be positive")


class TwoTower(nn.Module):
    """A user's and an item's tower, trained by a softmax over the items of the batch.

    With u(x), v(y) the towers' outputs scaled to length 1, and q_j the probability that item j is
    in a batch::

        score(x, y) = u(x) . v(y) / tau
        loss        = - mean_i log softmax_j (score(x_i, y_j) - log q_j) at j = i

    The correction by log q_j undoes that popular items are negatives more often: with it scores
    tend to log p(item | user), without it to log p(item | user) / p(item), up to a constant of the
    user. An item that is in a batch twice is a negative of itself: the correction counts on it.

    Source: Yi et al., Sampling-bias-corrected neural modeling for large corpus item
    recommendations, RecSys 2019. Differs from the paper in: q is given (the paper estimates it
    from the stream), and rewards are 1.
    """

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.users = nn.Embedding(config.users, config.dim)
        self.items = nn.Embedding(config.items, config.dim)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=config.dim**-0.5)
        self.user_tower = _mlp((config.dim, *config.hidden, config.out))
        self.item_tower = _mlp((config.dim, *config.hidden, config.out))

    def user_vectors(self, users: Tensor) -> Tensor:
        """Vectors [B, out] of length 1 of users [B]."""
        return F.normalize(self.user_tower(self.users(users)))

    def item_vectors(self, items: Tensor) -> Tensor:
        """Vectors [B, out] of length 1 of items [B]: what an index of neighbours holds."""
        return F.normalize(self.item_tower(self.items(items)))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores [B] of users [B] and items [B]."""
        cosines = (self.user_vectors(users) * self.item_vectors(items)).sum(1)
        return cosines / self.config.temperature

    def loss(self, users: Tensor, items: Tensor, log_q: Tensor) -> Tensor:
        """Softmax loss of observed pairs (users [B], items [B]), ``log_q`` [B] of the items."""
        products = self.user_vectors(users) @ self.item_vectors(items).T
        logits = products.float() / self.config.temperature - log_q
        return F.cross_entropy(logits, torch.arange(len(users), device=users.device))

    def scores(self, users: Tensor) -> Tensor:
        """Scores [B, I] of users [B] with every item."""
        items = torch.arange(self.config.items, device=users.device)
        return self.user_vectors(users) @ self.item_vectors(items).T / self.config.temperature


def _mlp(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
