"""Pairs of users and items."""

import numpy as np
import pytest

from stream_prune.errors import ConfigError
from stream_prune.interactions import Interactions


def test_pairs_come_by_user_and_item_and_once():
    user, item = np.array([2, 0, 2, 2]), np.array([3, 1, 0, 3])
    taken = Interactions.of(user, item, users=4, items=5)
    assert list(zip(taken.users.tolist(), taken.items.tolist(), strict=True)) == [
        (0, 1),
        (2, 0),
        (2, 3),
    ]
    assert (len(taken), taken.user_count, taken.per_user.tolist()) == (3, 4, [1, 0, 2, 0])


def test_the_union_has_the_pairs_of_both():
    one = Interactions.of(np.array([0, 1]), np.array([1, 1]), users=2, items=3)
    two = Interactions.of(np.array([1, 1]), np.array([1, 2]), users=2, items=3)
    assert (one | two).keys.tolist() == [1, 4, 5]


@pytest.mark.parametrize(("user", "item"), [(2, 0), (0, 3), (-1, 0)])
def test_numbers_out_of_range_are_refused(user, item):
    with pytest.raises(ConfigError, match=r"must be in \[0, "):
        Interactions.of(np.array([0, user]), np.array([0, item]), users=2, items=3)
