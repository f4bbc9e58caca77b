"""Who took which item: implicit feedback as a sparse matrix of users and items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_prune.errors import ConfigError

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class InteractionLog:
    """Who took what and when, in any order; a pair may occur several times.

    Attributes:
        user: [n] in [0, users).
        item: [n] in [0, items).
        time: [n] seconds since the epoch.
        users: U.
        items: I.
    """

    user: Ids
    item: Ids
    time: Ids
    users: int
    items: int

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, eq=False)
class Interactions:
    """The pairs (user, item) of a U x I matrix of zeros and ones, by user, then by item.

    Attributes:
        starts: [U + 1]; the items of user u are ``items[starts[u]:starts[u + 1]]``.
        items: [n] item numbers in [0, I), ascending within a user, none twice.
        item_count: I.

    >>> taken = Interactions.of(np.array([1, 0, 1]), np.array([2, 0, 1]), users=3, items=4)
    >>> taken.starts.tolist(), taken.items.tolist()
    ([0, 1, 3, 3], [0, 1, 2])
    """

    starts: Ids
    items: Ids
    item_count: int

    @classmethod
    def of(cls, user: Ids, item: Ids, *, users: int, items: int) -> Interactions:
        """From pairs in any order; one that occurs several times counts once.

        Args:
            user: [n] in [0, users).
            item: [n] in [0, items).
            users: U.
            items: I.

        Raises:
            ConfigError: a number is out of range, or the arrays differ in length.
        """
        if len(user) != len(item):
            raise ConfigError(f"interactions: {len(user)} users for {len(item)} items")
        for name, ids, count in (("user", user, users), ("item", item, items)):
            if len(ids) and not (ids.min() >= 0 and ids.max() < count):
                raise ConfigError(
                    f"interactions: {name}s are numbered {ids.min()} to {ids.max()}: must be in "
                    f"[0, {count})"
                )
        keys = np.unique(user.astype(np.int64) * items + item)
        starts = np.searchsorted(keys, np.arange(users + 1, dtype=np.int64) * items)
        return cls(starts.astype(np.int64), keys % items, items)

    @property
    def user_count(self) -> int:
        """U."""
        return len(self.starts) - 1

    @property
    def per_user(self) -> Ids:
        """[U] how many items each user has."""
        return np.diff(self.starts)

    @property
    def users(self) -> Ids:
        """[n] the user of each pair, beside :attr:`items`."""
        return np.repeat(np.arange(self.user_count), self.per_user)

    @property
    def keys(self) -> Ids:
        """[n] ``user * I + item``, ascending: one number a pair."""
        return self.users * self.item_count + self.items

    def __len__(self) -> int:
        return len(self.items)

    def __or__(self, other: Interactions) -> Interactions:
        """The pairs of either."""
        user = np.concatenate([self.users, other.users])
        item = np.concatenate([self.items, other.items])
        return Interactions.of(user, item, users=self.user_count, items=self.item_count)

    def of_users(self, users: Ids) -> tuple[Ids, Ids]:
        """The pairs of some users: (place in ``users``, item), both [m].

        >>> taken = Interactions.of(np.array([1, 0, 1]), np.array([2, 0, 1]), users=3, items=4)
        >>> [ids.tolist() for ids in taken.of_users(np.array([2, 1]))]
        [[1, 1], [1, 2]]
        """
        counts = self.per_user[users]
        place = np.repeat(np.arange(len(users)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return place, self.items[self.starts[users][place] + within]
