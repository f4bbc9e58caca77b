"""What a recommender of implicit feedback is told: pairs, model, how long, how sparse."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stream_prune.errors import ConfigError
from stream_prune.models.lightgcn import LightGCN, LightGCNConfig
from stream_prune.models.multvae import MultVAE, MultVAEConfig
from stream_prune.models.neumf import NeuMF, NeuMFConfig
from stream_prune.models.two_tower import TwoTower, TwoTowerConfig
from stream_prune.registry.config import RegistryConfig
from stream_prune.training.dataclass_reader import plain, read
from stream_prune.training.elements_config import ElementsConfig
from stream_prune.training.fit_ranking import FitConfig
from stream_prune.training.implicit_batches import (
    ImplicitBatches,
    InBatch,
    Pairwise,
    Pointwise,
    WholeUsers,
)
from stream_prune.training.interaction_split import InteractionSplit
from stream_prune.training.ranges import at_least, one_of, positive

OFFICIAL = ("gowalla", "yelp2018", "amazon-book")
"""Data sets that are published with a test part."""
PAIRS = ("ml-100k", *OFFICIAL)


@dataclass(frozen=True)
class Recommender:
    """A model: its sizes, how it is made, and the mini-batches that it learns from."""

    sizes: type[Any]
    make: Callable[[Any, InteractionSplit], nn.Module]
    batches: Callable[[RecommenderConfig, InteractionSplit], ImplicitBatches]


@dataclass(frozen=True)
class RecommenderConfig:
    """A run of a recommender of implicit feedback.

    Attributes:
        run: the run folder.
        dataset: ml-100k, or gowalla, yelp2018, amazon-book from the user's own download.
        folder: where the data set's files lie.
        model: neumf, lightgcn, multvae or two_tower.
        parameters: the model's own sizes, such as ``dim``; see its configuration in
            :mod:`stream_prune.models`. Numbers of users and items come from the data.
        lr: learning rate of Adam.
        batch: pairs in a mini-batch; for multvae users.
        negatives: of neumf, drawn for each pair.
        kl_steps: of multvae, training steps in which the KL's weight rises.
        epochs, evaluate_every, k: see :class:`~stream_prune.training.fit_ranking.FitConfig`.
        validation, test: shares of each user's pairs; where the data have a test part, ``test`` is
            not used.
        elements: masks that keep the model sparse from the first step on; None: dense.
        seed: of everything random.
        threads: of torch.
        registry: where the model is published; None: it is not.
    """

    run: Path
    folder: Path
    model: str
    dataset: str = "ml-100k"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 0.001
    batch: int = 1024
    negatives: int = 4
    kl_steps: int = 2000
    epochs: int = 20
    evaluate_every: int = 1
    k: int = 20
    validation: float = 0.1
    test: float = 0.1
    elements: ElementsConfig | None = None
    seed: int = 0
    threads: int = 1
    registry: RegistryConfig | None = None

    def __post_init__(self) -> None:
        one_of(tuple(RECOMMENDERS), model=self.model)
        one_of(PAIRS, dataset=self.dataset)
        at_least(1, batch=self.batch, negatives=self.negatives, epochs=self.epochs)
        at_least(1, evaluate_every=self.evaluate_every, k=self.k, threads=self.threads)
        at_least(0, kl_steps=self.kl_steps, seed=self.seed)
        positive(lr=self.lr)
        self.sizes(1, 1)  # they are wrong now or never

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecommenderConfig:
        """From plain values.

        Raises:
            ConfigError: with the key, its value, and what is allowed.

        >>> RecommenderConfig.from_dict({"run": "r", "folder": "d", "model": "neumf", "lr": 0})
        Traceback (most recent call last):
        ...
        stream_prune.errors.ConfigError: lr = 0.0: must be greater than 0
        """
        return read(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the inverse of :meth:`from_dict`."""
        values: dict[str, Any] = plain(self)
        return values

    def fit(self) -> FitConfig:
        """How long to train, and how to rank."""
        return FitConfig(self.epochs, self.evaluate_every, self.k, self.seed)

    def sizes(self, users: int, items: int) -> Any:
        """The model's configuration for so many users and items.

        Raises:
            ConfigError: a setting that the model does not have, or out of range.
        """
        kind = RECOMMENDERS[self.model].sizes
        names = [field.name for field in fields(kind)]
        counts = {"users": users, "items": items}
        given = {name: n for name, n in counts.items() if name in names}
        known = [name for name in names if name not in counts]
        for name in self.parameters:
            if name not in known:
                raise ConfigError(
                    f"parameters.{name}: {self.model} has no such setting; it has "
                    f"{', '.join(known)}"
                )
        try:
            return read(kind, {**given, **self.parameters})
        except ConfigError as error:
            raise ConfigError(re.sub(r"^(?=\w)", "parameters.", str(error))) from None

    def build(self, parts: InteractionSplit) -> nn.Module:
        """The model, with weights from torch's generator."""
        train = parts.train
        sizes = self.sizes(train.user_count, train.item_count)
        return RECOMMENDERS[self.model].make(sizes, parts)

    def batches(self, parts: InteractionSplit) -> ImplicitBatches:
        """The model's kind of mini-batches of the training part."""
        return RECOMMENDERS[self.model].batches(self, parts)


def _lightgcn(sizes: LightGCNConfig, parts: InteractionSplit) -> nn.Module:
    users, items = (torch.from_numpy(each) for each in (parts.train.users, parts.train.items))
    return LightGCN(sizes, users, items)


RECOMMENDERS: Mapping[str, Recommender] = {
    "lightgcn": Recommender(
        LightGCNConfig, _lightgcn, lambda config, parts: Pairwise(parts.train, config.batch)
    ),
    "multvae": Recommender(
        MultVAEConfig,
        lambda sizes, _: MultVAE(sizes),
        lambda config, parts: WholeUsers(parts.train, config.batch, config.kl_steps),
    ),
    "neumf": Recommender(
        NeuMFConfig,
        lambda sizes, _: NeuMF(sizes),
        lambda config, parts: Pointwise(parts.train, config.batch, config.negatives),
    ),
    "two_tower": Recommender(
        TwoTowerConfig,
        lambda sizes, _: TwoTower(sizes),
        lambda config, parts: InBatch(parts.train, config.batch),
    ),
}
