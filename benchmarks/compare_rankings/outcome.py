"""What a run comes to."""

from __future__ import annotations

from dataclasses import dataclass

from compare_rankings.contenders import Variant
from compare_rankings.cost import Products
from stream_prune.evaluation.ranking import Ranking


@dataclass(frozen=True)
class Outcome:
    """One run: figures of its best epoch, and what it costs."""

    variant: Variant
    seed: int
    rate: float
    epoch: int
    validation: float
    test: Ranking
    run: Products
    left: Products
    training_bytes: int
    disk_bytes: int
    seconds: float
