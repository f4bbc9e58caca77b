"""Tables with widths of their own: projected to the model's width, and trained through that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.widths import TablesOfWidths
from stream_prune.errors import ConfigError

NAMES = ("user", "item", "shop.kind")
CONFIGS = [TableConfig(name, 6, admission=1) for name in NAMES]
DIMS = {"item": 4, "shop.kind": 2}


def made(seed: int = 0, **more: object) -> TablesOfWidths:
    return TablesOfWidths(CONFIGS, 8, DIMS, lr=0.1, seed=seed, init_std=0.5, **more)


def by_hand(tables: TablesOfWidths, ids: np.ndarray, offsets: np.ndarray | None) -> torch.Tensor:
    """Each table's own rows, pooled at their own width and multiplied by its projection."""
    bounds = np.arange(ids.size + 1) if offsets is None else offsets
    batch, columns = (bounds.size - 1) // 3, []
    for field, table in enumerate(tables.tables.values()):
        known, weight = list(table.ids()), table.weight()
        projection = tables.projection(table.name)
        projection = torch.eye(8) if projection is None else projection
        bags = []
        for row in range(field * batch, (field + 1) * batch):
            bag = ids[bounds[row] : bounds[row + 1]]
            own = [weight[1 + known.index(i) if i in known else 0] for i in bag] or [weight[0]]
            bags.append(torch.stack(own).mean(0) @ projection)
        columns.append(torch.stack(bags))
    return torch.stack(columns, 1)


@pytest.mark.parametrize("bags", [False, True])
def test_every_table_is_read_at_its_own_width_and_projected(bags: bool) -> None:
    tables, rng = made(), np.random.default_rng(1)
    for _ in range(5):
        lengths = rng.integers(0, 4, 12) if bags else np.ones(12, np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]) if bags else None
        ids = rng.integers(0, 9, lengths.sum())
        with torch.no_grad():
            seen = tables.learnable(ids, offsets)
            torch.testing.assert_close(tables(ids, offsets), seen)
            torch.testing.assert_close(seen, by_hand(tables, ids, offsets))
        (tables.learnable(ids, offsets) ** 2).sum().backward()
        tables.step()
    assert [table.dim for table in tables.tables.values()] == [8, 4, 2]
    assert [table.bytes_per_row for table in tables.tables.values()] == [36, 20, 12]
    assert tables.projection_macs == 4 * 8 + 2 * 8


def test_rows_and_projections_get_the_gradients_that_autograd_gives() -> None:
    tables = made()
    ids = np.array([1, 2, 3, 3, 5, 6])
    before = {name: table.weight() for name, table in tables.tables.items()}
    wanted = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    (tables.learnable(ids) * wanted).sum().backward()
    item, projection = before["item"][0], tables.projection("item")
    assert projection is not None
    grad = tables.projections[0].grad
    assert grad is not None
    # Both rows are new, so they are as the cold row is.
    torch.testing.assert_close(grad[0], torch.outer(item, wanted[:, 1].sum(0)))
    tables.step()
    row = (wanted[0, 1] + wanted[1, 1]) @ projection.T  # both look-ups are of id 3
    step = 0.1 * row / row.square().mean().sqrt()
    torch.testing.assert_close(tables.tables["item"].weight()[1], item - step)


def test_what_comes_out_of_narrow_rows_varies_at_first_as_full_ones_do() -> None:
    projection = TablesOfWidths([TableConfig("item", 5)], 64, {"item": 16}, lr=0.1).projection(
        "item"
    )
    assert projection is not None
    torch.testing.assert_close(projection @ projection.T, 4.0 * torch.eye(16))
    assert projection.square().mean().item() == pytest.approx(1 / 16)


def test_rows_are_those_of_tables_of_one_width() -> None:
    """Who owns a row does not depend on widths."""
    narrow, full = made(), EmbeddingTables(CONFIGS, 8, lr=0.1)
    rng = np.random.default_rng(2)
    for step in range(40):
        ids = rng.zipf(1.3, 24).astype(np.int64) % 50
        for tables in (narrow, full):
            tables.admit(ids)
            if step % 4 == 3:
                tables.adapt()
        if step == 20:
            for tables in (narrow, full):
                tables.resize({"user": 4, "item": 3})
    for name in NAMES:
        np.testing.assert_array_equal(narrow.tables[name].ids(), full.tables[name].ids())
    assert narrow.churn() == full.churn()


def test_a_checkpoint_restores_rows_and_projections_and_another_width_is_refused() -> None:
    tables, other = made(seed=1), made(seed=2)
    ids = np.array([1, 2, 3, 3, 5, 6])
    tables.learnable(ids).sum().backward()
    tables.step()
    other.load_state_dict(tables.state_dict())
    with torch.no_grad():
        assert torch.equal(other(ids), tables(ids))
    elsewhere = TablesOfWidths(CONFIGS, 8, {"item": 2, "shop.kind": 4}, lr=0.1)
    with pytest.raises(RuntimeError, match="embedding tables: saved as"):
        elsewhere.load_state_dict(tables.state_dict())


def test_a_bad_id_is_refused_before_any_table_has_counted_it() -> None:
    tables = made()
    with pytest.raises(ValueError, match=r"shop\.kind.*must not be negative"):
        tables.admit(np.array([1, 2, -3]))
    assert [table.rows_used for table in tables.tables.values()] == [0, 0, 0]
    with pytest.raises(KeyError, match="nobody"):
        tables.resize({"user": 3, "nobody": 1})
    assert tables.tables["user"].capacity == 6


@pytest.mark.parametrize(
    ("dims", "backend", "message"),
    [
        ({"item": 0}, "flat", r"tables\.dims\.item = 0: must be from 1 to the model's dim, 8"),
        ({"item": 9}, "flat", r"tables\.dims\.item = 9: must be from 1 to"),
        ({"nobody": 4}, "flat", r"tables\.dims\.nobody: no such categorical column"),
        ({"item": 6}, "fbgemm", r"tables\.dims\.item = 6: FBGEMM needs a multiple of 4"),
    ],
)
def test_a_width_that_cannot_be_is_refused_by_name(
    dims: dict[str, int], backend: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        TablesOfWidths(CONFIGS, 8, dims, lr=0.1, backend=backend)


def test_fbgemm_holds_rows_of_several_widths_as_the_flat_tables_do() -> None:
    pytest.importorskip("fbgemm_gpu")
    both = [TablesOfWidths(CONFIGS, 8, {"item": 4}, 0.1, backend=b) for b in ("flat", "fbgemm")]
    rng = np.random.default_rng(3)
    for _ in range(5):
        ids = rng.integers(0, 9, 24)
        for tables in both:
            (tables.learnable(ids) ** 2).sum().backward()
            tables.step()
    with torch.no_grad():
        torch.testing.assert_close(both[0](ids), both[1](ids))
    assert both[1].storage.endswith("rows of widths 8, 4")
