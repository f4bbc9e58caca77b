"""A total of rows goes where coverage curves say that it finds the most look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.half_lives import Tuning
from stream_prune.errors import ConfigError
from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.row_split import coverage
from stream_prune.sparsity.rows import allotted, capacities
from stream_prune.training.config import TrainingConfig


class Point(NamedTuple):
    rows: int
    coverage: float


class Known:
    """A table whose coverage curve is given."""

    bytes_per_row = 4

    def __init__(self, name: str, capacity: int, curve: list[tuple[int, float]]) -> None:
        self.name, self.capacity, self.curve = name, capacity, curve

    def resize(self, n: int) -> None:
        self.capacity = n

    def coverage_curve(self) -> list[Point]:
        return [Point(*point) for point in self.curve]


SPLIT = Budget(macs=1.0, rows=0.2, split="coverage")
FULL = {"few": 1000, "many": 1000, "small": 100}


def tables(few: list[tuple[int, float]], many: list[tuple[int, float]]) -> dict[str, Known]:
    curves = {"few": few, "many": many, "small": [(100, 1.0)]}
    return {name: Known(name, FULL[name], curve) for name, curve in curves.items()}


def test_rows_go_to_the_table_whose_next_ones_find_more_and_small_tables_stay_whole() -> None:
    known = tables(few=[(50, 0.95), (1000, 1.0)], many=[(1000, 0.9)])
    assert allotted(known, FULL, FULL, SPLIT) == {"few": 100, "many": 300, "small": 100}


def test_a_split_that_finds_hardly_more_moves_no_row() -> None:
    now = {"few": 60, "many": 340, "small": 100}
    known = tables(few=[(50, 0.95), (1000, 1.0)], many=[(1000, 0.9)])
    assert allotted(known, FULL, now, SPLIT) == now


def test_tables_that_know_nothing_yet_get_their_proportional_part() -> None:
    known = tables(few=[], many=[])
    assert allotted(known, FULL, FULL, SPLIT) == {"few": 200, "many": 200, "small": 100}


rising = st.lists(
    st.tuples(st.integers(1, 300), st.floats(0, 1)),
    min_size=1,
    max_size=6,
    unique_by=lambda p: p[0],
).map(lambda points: [*zip(*(sorted(part) for part in zip(*points, strict=True)), strict=True)])


@given(st.dictionaries(st.sampled_from("abcd"), rising, min_size=1), st.integers(20, 100))
def test_a_split_keeps_the_total_and_finds_no_less_than_the_proportional_one(
    curves: Mapping[str, list[tuple[int, float]]], percent: int
) -> None:
    full = dict.fromkeys(curves, 300)
    known = {name: Known(name, 300, curve) for name, curve in curves.items()}
    budget = Budget(1.0, rows=percent / 100, split="coverage")
    even, found = capacities(full, budget), allotted(known, full, full, budget)
    assert sum(found.values()) <= sum(even.values())
    assert all(1 <= rows <= 300 for rows in found.values())
    covered = sum(coverage(curve, found[name]) for name, curve in curves.items())
    assert covered >= sum(coverage(curve, even[name]) for name, curve in curves.items()) - 1e-9


def test_ghost_caches_of_real_tables_drive_the_split() -> None:
    """One column's ids are used for a while and then never again; the other's all come back."""
    configs = [
        TableConfig(name, 600, half_life=2_000, half_lives=(500, 2_000, 20_000))
        for name in ("sessions", "items")
    ]
    learned = EmbeddingTables(configs, 2, lr=0.1, tuning=Tuning(round_events=500))
    generator = np.random.default_rng(0)
    for batch in range(300):
        sessions = batch * 2 + generator.integers(0, 8, 100)
        learned.admit(np.concatenate([sessions, generator.integers(0, 600, 100)]))
        learned.adapt()
    full = dict.fromkeys(learned.tables, 600)
    found = allotted(learned.tables, full, full, Budget(1.0, rows=0.5, split="coverage"))
    assert found["items"] > 400 > 200 > found["sessions"]
    assert sum(found.values()) == 600
    learned.resize(found)
    assert learned.tables["items"].rows_used > 400  # the best rows are kept


def test_a_split_without_what_it_needs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"split = 'coverage'.*add budget\.rows"):
        Budget(macs=0.5, split="coverage")
    values = {
        "run": Path("r"),
        "log": Path("l"),
        "sparsity": {"budget": {"macs": 0.5, "rows": 0.2}},
    }
    values["sparsity"]["budget"]["split"] = "coverage"
    with pytest.raises(ConfigError, match=r"add `tables\.half_lives`"):
        TrainingConfig.from_dict(values)
