"""Recall and NDCG of rankings over all items; never over a sample of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_prune.errors import ConfigError, RunError
from stream_prune.interactions import Ids, Interactions

Figures = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Figures of every user that has something to find.

    Attributes:
        users: [n] their numbers.
        recalls: [n] Recall@K.
        ndcgs: [n] NDCG@K.
    """

    users: Ids
    recalls: Figures
    ndcgs: Figures

    @property
    def recall(self) -> float:
        """Mean Recall@K over the users."""
        return float(self.recalls.mean())

    @property
    def ndcg(self) -> float:
        """Mean NDCG@K over the users."""
        return float(self.ndcgs.mean())


@torch.no_grad()
def rank(
    scores: Callable[[Ids], Tensor],
    relevant: Interactions,
    seen: Interactions,
    *,
    k: int = 20,
    users_at_once: int = 1024,
) -> Ranking:
    """Rank, for each user, every item that was not seen, and compare with the relevant ones.

    With h_r = 1 where rank r = 1 .. K holds a relevant item, and n relevant items of the user::

        Recall@K = sum_r h_r / n
        NDCG@K   = sum_r h_r / log2(r + 1)  /  sum_{r = 1 .. min(n, K)} 1 / log2(r + 1)

    Means are over users with at least one relevant item. Between equal scores a relevant item
    comes last: a model that tells nothing apart finds nothing.

    Source: the definitions with which LightGCN (arXiv 2002.02126) and RecBole report; the paper of
    MultVAE (arXiv 1802.05814) divides recall by min(n, K) instead. Why not over sampled items:
    Krichene and Rendle, On sampled metrics for item recommendation, KDD 2020.

    Args:
        scores: the scores [b, I] of all items for b users [b], finite.
        relevant: what is to be found.
        seen: what is not a candidate: everything known before (for a test part that is the
            training and the validation part).
        k: K.
        users_at_once: b, at most.

    Raises:
        ConfigError: K is out of range, the two do not belong together, a relevant item was seen
            before, or there is nothing to find.
        RunError: scores have another shape or are not finite.
    """
    if not 1 <= k <= relevant.item_count:
        raise ConfigError(f"k = {k}: must be in [1, {relevant.item_count}], the number of items")
    shapes = [(part.user_count, part.item_count) for part in (relevant, seen)]
    if shapes[0] != shapes[1]:
        raise ConfigError(f"ranking: relevant is {shapes[0]} users x items, seen is {shapes[1]}")
    both = len(np.intersect1d(relevant.keys, seen.keys, assume_unique=True))
    if both:
        raise ConfigError(f"ranking: {both} relevant pairs are among the seen ones, too")
    users = np.flatnonzero(relevant.per_user)
    if not len(users):
        raise ConfigError("ranking: no user has a relevant item")
    parts = [
        _hits(scores, users[first : first + users_at_once], relevant, seen, k)
        for first in range(0, len(users), users_at_once)
    ]
    hits, found = np.concatenate(parts), relevant.per_user[users]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(found, k) - 1]
    return Ranking(users, hits.sum(1) / found, hits @ discounts / ideal)


def _hits(
    scores: Callable[[Ids], Tensor], users: Ids, relevant: Interactions, seen: Interactions, k: int
) -> npt.NDArray[np.bool_]:
    """[b, K] whether each rank holds a relevant item."""
    given = scores(users)
    if tuple(given.shape) != (len(users), relevant.item_count):
        raise RunError(
            f"ranking: scores are {tuple(given.shape)}, not ({len(users)}, {relevant.item_count})"
        )
    if not bool(torch.isfinite(given).all()):
        raise RunError("ranking: scores are not finite; the model has diverged")
    # One step down in float64 is below every equal float32 score and above every lower one.
    exact = given.double()
    place, item = (torch.from_numpy(ids).to(exact.device) for ids in relevant.of_users(users))
    exact[place, item] = exact[place, item].nextafter(exact.new_tensor(-torch.inf))
    exact[
        tuple(torch.from_numpy(ids).to(exact.device) for ids in seen.of_users(users))
    ] = -torch.inf
    wanted = torch.zeros_like(exact, dtype=torch.bool)
    wanted[place, item] = True
    best = exact.topk(k, dim=1).indices
    hits: npt.NDArray[np.bool_] = wanted.gather(1, best).cpu().numpy()
    return hits
