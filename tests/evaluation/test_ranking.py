"""Recall and NDCG over all items, against a ranking made one item at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.errors import ConfigError, RunError
from stream_prune.evaluation.ranking import rank
from stream_prune.interactions import Interactions


def naive(scores, relevant, seen, k):
    """Per user with something to find: Recall@K and NDCG@K by the definition, in plain Python."""
    found = []
    for user, row in enumerate(scores):
        wanted = relevant[user]
        if not wanted:
            continue
        candidates = [item for item in range(len(row)) if item not in seen[user]]
        order = sorted(candidates, key=lambda item: (-row[item], item in wanted))[:k]
        gains = [1 / math.log2(place + 2) for place, item in enumerate(order) if item in wanted]
        best = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
        found.append((user, len(gains) / len(wanted), sum(gains) / best))
    return found


def matrix(rows, items):
    pairs = [(user, item) for user, row in enumerate(rows) for item in row]
    user, item = np.array(pairs, np.int64).reshape(-1, 2).T
    return Interactions.of(user, item, users=len(rows), items=items)


@given(st.data())
def test_figures_are_those_of_ranking_one_item_at_a_time(data):
    users = data.draw(st.integers(1, 7), "users")
    items = data.draw(st.integers(1, 12), "items")
    k = data.draw(st.integers(1, items), "k")
    # Few different scores: most are equal to another one.
    grid = st.lists(st.integers(-2, 2), min_size=items, max_size=items)
    scores = data.draw(st.lists(grid, min_size=users, max_size=users), "scores")
    role = st.lists(st.sampled_from(["none", "seen", "wanted"]), min_size=items, max_size=items)
    roles = data.draw(st.lists(role, min_size=users, max_size=users), "roles")
    seen, wanted = (
        [{item for item, is_ in enumerate(row) if is_ == what} for row in roles]
        for what in ("seen", "wanted")
    )
    expected = naive(scores, wanted, seen, k)
    table = torch.tensor(scores, dtype=torch.float32)
    ask = lambda ids: table[torch.from_numpy(ids)]  # noqa: E731
    if not expected:
        with pytest.raises(ConfigError, match="no user has a relevant item"):
            rank(ask, matrix(wanted, items), matrix(seen, items), k=k)
        return
    figures = rank(ask, matrix(wanted, items), matrix(seen, items), k=k, users_at_once=3)
    assert figures.users.tolist() == [user for user, _, _ in expected]
    np.testing.assert_allclose(figures.recalls, [recall for _, recall, _ in expected])
    np.testing.assert_allclose(figures.ndcgs, [ndcg for _, _, ndcg in expected])


def test_two_known_rankings():
    wanted, seen = matrix([{0, 3}, {1}], 5), matrix([{4}, set()], 5)
    scores = torch.tensor([[3.0, 2.0, 1.0, 2.5, 9.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    figures = rank(lambda users: scores[torch.from_numpy(users)], wanted, seen, k=2)
    assert figures.recalls.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(figures.ndcgs, [1.0, 1 / math.log2(3)])
    assert figures.recall == 1.0


def test_a_model_that_tells_nothing_apart_finds_nothing():
    figures = rank(lambda u: torch.zeros(len(u), 40), matrix([{1}], 40), matrix([set()], 40))
    assert (figures.recall, figures.ndcg) == (0.0, 0.0)


def test_one_step_of_float32_is_a_difference():
    scores = torch.tensor([[1.0, 1.0]]).nextafter(torch.tensor([[2.0, 1.0]]))
    assert rank(lambda u: scores[u], matrix([{0}], 2), matrix([set()], 2), k=1).recall == 1.0


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.full((1, 4), float("nan")), "not finite"),
        (torch.zeros(1, 3), r"are \(1, 3\), not \(1, 4\)"),
    ],
)
def test_scores_that_are_none_are_refused(scores, message):
    with pytest.raises(RunError, match=message):
        rank(lambda u: scores, matrix([{1}], 4), matrix([set()], 4), k=2)


def test_what_does_not_belong_together_is_refused():
    wanted = matrix([{1}], 4)
    for seen, k, message in (
        (matrix([{1}], 4), 2, "1 relevant pairs are among the seen ones"),
        (matrix([{1}], 5), 2, r"\(1, 4\) users x items, seen is \(1, 5\)"),
        (matrix([set()], 4), 5, r"k = 5: must be in \[1, 4\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            rank(lambda u: torch.zeros(1, 4), wanted, seen, k=k)
