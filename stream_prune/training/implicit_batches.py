"""Mini-batches of implicit feedback: what each kind of model learns from, and is asked with.

A negative is drawn from the items that the user has no *training* pair with. What is in the
validation or the test part is drawn like any other: to leave it out would tell the model what is
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from stream_prune.errors import ConfigError
from stream_prune.interactions import Ids, Interactions
from stream_prune.models.multvae import annealed


class ImplicitBatches(Protocol):
    """One kind of mini-batch."""

    @property
    def train(self) -> Interactions:
        """The training pairs."""
        ...

    def epoch(self, number: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
        """Arguments of ``model.loss``, batch by batch, through all training pairs once."""
        ...

    def scores(self, model: nn.Module, users: Ids) -> Tensor:
        """Scores [b, I] of users [b] with every item."""
        ...


@dataclass(frozen=True)
class _Pairs:
    """Training pairs in random order.

    Attributes:
        train: the training pairs.
        batch: B, pairs in a batch (the last one of an epoch may have fewer).
    """

    train: Interactions
    batch: int

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch = {self.batch}: must be at least 1")
        if not len(self.train):
            raise ConfigError("train: there are no pairs to learn")

    def _shuffled(self, rng: np.random.Generator) -> Iterator[tuple[Ids, Ids]]:
        order, users = rng.permutation(len(self.train)), self.train.users
        for first in range(0, len(order), self.batch):
            here = order[first : first + self.batch]
            yield users[here], self.train.items[here]

    def scores(self, model: nn.Module, users: Ids) -> Tensor:
        scores: Tensor = model.scores(torch.from_numpy(users).to(_device(model)))  # type: ignore[operator]
        return scores


@dataclass(frozen=True)
class Pointwise(_Pairs):
    """(users, items, labels) [B x (1 + negatives)] for NeuMF: pairs and sampled negatives.

    Attributes:
        negatives: drawn anew in each epoch, per pair (4 in the paper of NeuMF).
    """

    negatives: int = 4

    def epoch(self, number: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
        del number
        sample = NegativeSampler(self.train)
        for users, items in self._shuffled(rng):
            others = np.repeat(users, self.negatives)
            labels = np.zeros(len(users) + len(others), np.float32)
            labels[: len(users)] = 1.0
            drawn = sample(others, rng)
            yield _tensors(np.concatenate([users, others]), np.concatenate([items, drawn]), labels)


@dataclass(frozen=True)
class Pairwise(_Pairs):
    """(users, items, negatives) [B] for LightGCN: each pair against one sampled negative."""

    def epoch(self, number: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
        del number
        sample = NegativeSampler(self.train)
        for users, items in self._shuffled(rng):
            yield _tensors(users, items, sample(users, rng))


@dataclass(frozen=True)
class InBatch(_Pairs):
    """(users, items, log_q) [B] for two towers: an item's share of the training pairs is q."""

    def epoch(self, number: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
        del number
        shares = np.bincount(self.train.items, minlength=self.train.item_count) / len(self.train)
        for users, items in self._shuffled(rng):
            yield _tensors(users, items, np.log(shares[items]).astype(np.float32))


@dataclass(frozen=True)
class WholeUsers:
    """(rows [B, I], weight of the KL) for MultVAE: all of a user's training items at once.

    Attributes:
        train: the training pairs; users without one are left out.
        batch: B, users in a batch.
        kl_steps: training steps in which the KL's weight would rise to 1.
        kl_cap: where it stops.
    """

    train: Interactions
    batch: int
    kl_steps: int = 0
    kl_cap: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("kl_steps", 0), ("kl_cap", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be at least {least}")
        if not len(self.train):
            raise ConfigError("train: there are no pairs to learn")

    def epoch(self, number: int, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
        users = rng.permutation(np.flatnonzero(self.train.per_user))
        starts = range(0, len(users), self.batch)
        for step, first in enumerate(starts, number * len(starts)):
            rows = self._rows(users[first : first + self.batch])
            yield rows, annealed(step, self.kl_steps, self.kl_cap)

    def scores(self, model: nn.Module, users: Ids) -> Tensor:
        scores: Tensor = model.scores(self._rows(users).to(_device(model)))  # type: ignore[operator]
        return scores

    def _rows(self, users: Ids) -> Tensor:
        rows = torch.zeros(len(users), self.train.item_count)
        place, item = self.train.of_users(users)
        rows[torch.from_numpy(place), torch.from_numpy(item)] = 1.0
        return rows


class NegativeSampler:
    """Items that a user has no training pair with, all equally likely.

    Args:
        train: the training pairs.

    Raises:
        ConfigError: a user has a pair with every item.
    """

    def __init__(self, train: Interactions) -> None:
        self._items, self._keys = train.item_count, train.keys
        full = np.flatnonzero(train.per_user == train.item_count)
        if len(full):
            raise ConfigError(
                f"train: user {full[0]} has every item, so there is no negative to draw: leave "
                "such users out"
            )

    def __call__(self, users: Ids, rng: np.random.Generator) -> Ids:
        """One item [n] for each of the users [n]."""
        items = rng.integers(self._items, size=len(users))
        wrong = np.flatnonzero(self._taken(users, items))
        while len(wrong):
            items[wrong] = rng.integers(self._items, size=len(wrong))
            wrong = wrong[self._taken(users[wrong], items[wrong])]
        return items

    def _taken(self, users: Ids, items: Ids) -> np.ndarray[Any, np.dtype[np.bool_]]:
        keys = users * self._items + items
        place = np.searchsorted(self._keys, keys)
        found: np.ndarray[Any, np.dtype[np.bool_]] = (
            self._keys[np.minimum(place, len(self._keys) - 1)] == keys
        )
        return found


def _tensors(*arrays: np.ndarray[Any, Any]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
