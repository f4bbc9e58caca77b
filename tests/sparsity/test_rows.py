"""Tables follow the budget, those that lie together in one move."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.sparsity.rows import resize


def trained_tables() -> EmbeddingTables:
    configs = [TableConfig(name, 30, admission=1, half_life=50) for name in "abc"]
    tables = EmbeddingTables(configs, 4, lr=0.1, seed=3)
    generator = np.random.default_rng(0)
    for _ in range(20):
        ids = generator.zipf(1.3, 3 * 16) % 60
        tables.admit(ids)
        tables(ids).square().sum().backward()
        tables.step()
        tables.adapt()
    return tables


def test_tables_resized_at_once_are_those_resized_one_by_one() -> None:
    wanted = {"a": 5, "b": 30, "c": 12}
    one_by_one, at_once = trained_tables(), trained_tables()
    moves: list[Mapping[str, int]] = []

    def counted(capacities: Mapping[str, int]) -> None:
        moves.append(dict(capacities))
        EmbeddingTables.resize(at_once, capacities)

    at_once.resize = counted  # type: ignore[method-assign]
    for name in ("a", "c"):
        one_by_one.tables[name].resize(wanted[name])
    resize(at_once.tables, wanted)
    assert moves == [{"a": 5, "c": 12}]  # "b" has that capacity already
    expected, found = one_by_one.state_dict(), at_once.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        same = torch.equal(value, found[name]) if torch.is_tensor(value) else value == found[name]
        assert same, name


class LoneTable:
    """A table of somebody's own, with nothing beside it."""

    name, bytes_per_row = "mine", 8

    def __init__(self) -> None:
        self.capacity = 10

    def resize(self, n: int) -> None:
        self.capacity = n


def test_a_table_of_ones_own_needs_no_storage() -> None:
    lone, tables = LoneTable(), trained_tables()
    resize({"mine": lone, **tables.tables}, {"mine": 3, "a": 4, "b": 30, "c": 30})
    assert (lone.capacity, tables.tables["a"].capacity) == (3, 4)
