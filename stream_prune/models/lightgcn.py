"""LightGCN: embeddings smoothed over the graph of users and items, with nothing else learned."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class LightGCNConfig:
    """Sizes of a :class:`LightGCN`; the defaults are those of the paper.

    Args:
        users: U.
        items: I.
        dim: D, the embedding dimension.
        layers: L, how often embeddings are passed along the edges.
        weight_decay: lambda, of the squared norms of a batch's own embeddings.

    Raises:
        ValueError: a size out of range, by name.
    """

    users: int
    items: int
    dim: int = 64
    layers: int = 3
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("users", "items", "dim", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be 1 or more")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay = {self.weight_decay}: must not be negative")


class SparseProduct(torch.autograd.Function):
    """A sparse matrix times a dense one, with the transposed matrix at hand for the backward.

    On a CPU torch's own backward takes six times as long: it transposes the matrix each time.
    Autocast leaves it alone, since a sparse product exists in the type of its matrix only.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        with torch.autocast(dense.device.type, enabled=False):
            product: Tensor = matrix @ dense
        return product

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:
        (transposed,) = ctx.saved_tensors
        return None, None, transposed @ gradient


class LightGCN(nn.Module):
    """Light graph convolution.

    With E(0) the embeddings [U + I, D] and A the symmetric adjacency matrix of training pairs::

        E(k+1)      = D^-1/2 A D^-1/2 E(k),   D the diagonal of degrees (a node without one gets 0)
        E           = (E(0) + ... + E(L)) / (L + 1)
        score(u, i) = E_u . E_i
        loss        = - mean log sigmoid(score(u, i) - score(u, j))
                      + lambda / 2 (|E(0)_u|^2 + |E(0)_i|^2 + |E(0)_j|^2) / B,   j a negative (BPR)

    The graph is data, not state: it isn't in the ``state_dict``, and a saved model is loaded into
    one that was built with the same pairs. It has no units to remove: embeddings are the only
    parameters, and each of their dimensions goes straight into the scores.

    Source: He et al., LightGCN: simplifying and powering graph convolution network for
    recommendation, SIGIR 2020 (arXiv 2002.02126), equations 3 to 15; embeddings start by Xavier's
    uniform rule. The loss is scaled as in the authors' code, by the batch.

    Args:
        config: sizes.
        users: [n] int64, the user of each training pair.
        items: [n] int64, its item; no pair twice.
    """

    def __init__(self, config: LightGCNConfig, users: Tensor, items: Tensor) -> None:
        super().__init__()
        self.config = config
        self.users = nn.Embedding(config.users, config.dim)
        self.items = nn.Embedding(config.items, config.dim)
        for table in (self.users, self.items):
            nn.init.xavier_uniform_(table.weight)
        degrees = [
            torch.bincount(ids, minlength=count).clamp(min=1).double()
            for ids, count in ((users, config.users), (items, config.items))
        ]
        weights = (degrees[0][users] * degrees[1][items]).rsqrt().float()
        # Two blocks of the symmetric matrix: what users take from items, and items from users. They
        # are kept as plain tensors, since sparse ones can't be copied (copy.deepcopy).
        self._keep("users_take", users, items, weights, config.users)
        self._keep("items_take", items, users, weights, config.items)

    def _keep(self, name: str, row: Tensor, column: Tensor, weights: Tensor, rows: int) -> None:
        order = torch.argsort(row, stable=True)
        ends = torch.bincount(row, minlength=rows).cumsum(0)
        parts = {
            "starts": torch.cat([ends.new_zeros(1), ends]),
            "columns": column[order],
            "weights": weights[order],
        }
        for part, tensor in parts.items():
            self.register_buffer(f"{name}_{part}", tensor, persistent=False)

    def blocks(self) -> tuple[Tensor, Tensor]:
        """The normalised adjacency matrix: its blocks [U, I] and [I, U], sparse."""
        users, items = self.config.users, self.config.items
        return self._block("users_take", (users, items)), self._block("items_take", (items, users))

    def _block(self, name: str, shape: tuple[int, int]) -> Tensor:
        starts, columns, weights = (
            self.get_buffer(f"{name}_{part}") for part in ("starts", "columns", "weights")
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
            return torch.sparse_csr_tensor(starts, columns, weights, shape, check_invariants=False)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """The final embeddings of all users [U, D] and items [I, D]."""
        users, items = self.users.weight, self.items.weight
        forth, back = self.blocks()
        all_users, all_items = [users], [items]
        for _ in range(self.config.layers):
            users, items = _product(forth, back, items), _product(back, forth, users)
            all_users.append(users)
            all_items.append(items)
        return torch.stack(all_users).mean(0), torch.stack(all_items).mean(0)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores [B] of users [B] and items [B]."""
        all_users, all_items = self.propagate()
        return (all_users[users] * all_items[items]).sum(1)

    def loss(self, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
        """BPR loss of observed pairs (users [B], items [B]), each against a negative item [B]."""
        all_users, all_items = self.propagate()
        difference = all_items[items] - all_items[negatives]
        ranking = F.softplus(-(all_users[users] * difference).sum(1)).mean()
        own = (self.users(users), self.items(items), self.items(negatives))
        norms = sum((each.square().sum() for each in own), start=ranking.new_zeros(()))
        return ranking + self.config.weight_decay / 2 * norms / len(users)

    def scores(self, users: Tensor) -> Tensor:
        """Scores [B, I] of users [B] with every item."""
        all_users, all_items = self.propagate()
        return all_users[users] @ all_items.T


def _product(matrix: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
    product: Tensor = SparseProduct.apply(matrix, transposed, dense)  # type: ignore[no-untyped-call]
    return product
