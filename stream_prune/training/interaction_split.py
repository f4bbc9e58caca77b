"""Training, validation and test parts of implicit feedback, user by user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stream_prune.errors import ConfigError
from stream_prune.interactions import Ids, InteractionLog, Interactions

Order = Literal["random", "time"]


@dataclass(frozen=True, eq=False)
class InteractionSplit:
    """Three parts of the same U x I matrix, disjoint.

    Attributes:
        train: what a model learns.
        validation: what the best epoch is chosen by.
        test: what is reported.
    """

    train: Interactions
    validation: Interactions
    test: Interactions

    @property
    def known(self) -> Interactions:
        """What is known when the test part is ranked, and so is no candidate any more."""
        return self.train | self.validation


def split(
    log: InteractionLog,
    *,
    order: Order = "random",
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> InteractionSplit:
    """Give each user's pairs to the three parts; a pair that occurs several times counts once.

    "random": a random share of each user's pairs, with a seed. That is how the papers of NeuMF's
    successors, LightGCN (80 / 20, a tenth of the 80 for validation) and RecBole's default (80 / 10
    / 10) split, and what figures must be compared by. "time": each user's last pairs are the test
    part, those before them the validation part, as a recommender in use would meet them; ties stay
    in the order given. A user's share is rounded down: users with few pairs are in the training
    part only.

    Args:
        log: the pairs and their times.
        order: "random" or "time".
        validation: share of each user's pairs, in [0, 1).
        test: share of each user's pairs, in [0, 1).
        seed: of the random order.

    Raises:
        ConfigError: shares that leave nothing to learn, or numbers out of range.
    """
    if order not in ("random", "time"):
        raise ConfigError(f"split.order = {order!r}: must be random or time")
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ConfigError(f"split.{name} = {share}: must be in [0, 1)")
    if validation + test >= 1:
        raise ConfigError(
            f"split.validation + split.test = {validation + test}: must be below 1, or nothing is "
            "left to learn"
        )
    every = Interactions.of(log.user, log.item, users=log.users, items=log.items)
    if order == "time":
        rank = np.argsort(log.time, kind="stable")
        user, item = log.user[rank], log.item[rank]
        _, first = np.unique(user.astype(np.int64) * log.items + item, return_index=True)
        first.sort()  # each pair when it came first, in order
    else:
        # From the pairs in one order, whatever order they came in.
        user, item = every.users, every.items
        first = np.random.default_rng(seed).permutation(len(every))
    user, item = user[first], item[first]
    grouped = np.argsort(user, kind="stable")
    user, item = user[grouped], item[grouped]
    place = np.arange(len(every)) - every.starts[user]
    last, before = (_shares(every.per_user, share)[user] for share in (test, validation))
    left = every.per_user[user] - 1 - place
    parts = (left >= last + before, (left >= last) & (left < last + before), left < last)
    return InteractionSplit(
        *(
            Interactions.of(user[part], item[part], users=log.users, items=log.items)
            for part in parts
        )
    )


def _shares(counts: Ids, share: float) -> Ids:
    # 0.29 * 100 is 28.999999999999996
    return np.floor(np.round(counts * share, 6)).astype(np.int64)
