"""Any sequence of operations on the compiled tables, beside the same on plain dicts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_tables import BOARD_SHIFT, PlainTable

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.half_lives import Tuning
from stream_prune.embedding.id_map import home

LR, EPS, DIM = 0.1, 1e-10, 3
EXTREMES = [2**63 - 1, 2**63 - 2, (1 << 62) + 5, 1 << 40]
# Each in a cell of its own of a board of 64, where two candidates of one cell push each other out.
IDS = [*{int(home(key, BOARD_SHIFT)): key for key in [*range(24), *EXTREMES]}.values()]
CONFIGS = (
    TableConfig("follows", 4, half_life=6),
    TableConfig("at once", 3, admission=1, half_life=2.5, hysteresis=1.0),
    TableConfig("fixed", 3, follow=False, half_life=50),
    TableConfig(
        "shares", 6, half_life=4, cold_share=0.4, waiting=0.5, combine="sum", most_values=1
    ),
    TableConfig("waits", 2, admission=1, half_life=3, hysteresis=1.0, waiting=1.5, most_values=2),
)

WEIGHTS = (0.0, 0.25, 1.0, 2.5)
bags = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(WEIGHTS)), max_size=4)
batches = st.integers(1, 4).flatmap(
    lambda rows: st.lists(
        st.lists(bags, min_size=rows, max_size=rows), min_size=len(CONFIGS), max_size=len(CONFIGS)
    )
)
steps = st.one_of(
    st.tuples(st.just("learn"), batches, st.integers(0, 2**31)),
    st.tuples(st.just("learn"), batches, st.integers(0, 2**31)),
    st.tuples(st.just("adapt")),
    st.tuples(st.just("resize"), st.sampled_from([c.name for c in CONFIGS]), st.integers(0, 6)),
    st.tuples(st.just("checkpoint")),
)


def new_tables() -> EmbeddingTables:
    return EmbeddingTables(CONFIGS, DIM, LR, EPS, init_std=0.5, seed=1)


Batch = list[list[list[tuple[int, float]]]]


def flat(batch: Batch) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Ids, offsets unless every bag holds one id, and weights unless all are 1."""
    all_bags = [bag for table in batch for bag in table]
    ids = np.array([key for bag in all_bags for key, _ in bag], np.int64)
    given = np.array([weight for bag in all_bags for _, weight in bag], np.float32)
    weights = None if (given == 1).all() else given
    if all(len(bag) == 1 for bag in all_bags):
        return ids, None, weights
    return ids, np.cumsum([0, *map(len, all_bags)]).astype(np.int64), weights


def assert_same(tables: EmbeddingTables, plain: dict[str, PlainTable]) -> None:
    everybody = np.tile(np.array(IDS), len(plain))
    rows = tables.lookup(everybody).reshape(len(plain), -1)
    taken = []
    for found, (name, expected) in zip(rows, plain.items(), strict=True):
        table = tables.tables[name]
        assert table.capacity == expected.capacity
        assert table.ids().tolist() == expected.owners
        cold = range(*tables.cache.shared(list(plain).index(name)).indices(2**31))
        assert table.cold_rows == len(cold) == expected.cold
        for key, row in zip(IDS, found, strict=True):
            weight = tables.weight[row].numpy()
            np.testing.assert_allclose(
                weight, expected.weights[expected.row_of(key)], rtol=1e-4, atol=1e-5
            )
            assert (row in cold) == (expected.row_of(key) < 0)
            if expected.row_of(key) >= 0:
                taken.append(row)
        np.testing.assert_array_equal(
            table.weight()[len(cold) :],
            tables.weight[found[[IDS.index(k) for k in expected.owners]]],
        )
    assert len(set(taken)) == len(taken)


def test_the_ids_of_this_test_are_many_and_reach_the_extremes():
    assert len(IDS) > 16
    assert set(EXTREMES) < set(IDS)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=25))
def test_tables_do_what_plain_dicts_do(sequence):
    tables, events = new_tables(), 0
    plain = {
        c.name: PlainTable(c, tables.tables[c.name].weight().numpy(), LR, EPS) for c in CONFIGS
    }
    for step in sequence:
        if step[0] == "learn":
            batch, rows = step[1], len(step[1][0])
            ids, offsets, weights = flat(batch)
            found = tables.admit(ids, offsets, weights)
            assert found.rows.tolist() == tables.lookup(ids, offsets).tolist()
            for table, table_bags in zip(plain.values(), batch, strict=True):
                table.admit([key for bag in table_bags for key, _ in table.counted(bag)], events)
            events += rows
            out = tables.read(found)
            expected = [
                [t.embedding(b) for b in table_bags]
                for t, table_bags in zip(plain.values(), batch, strict=True)
            ]
            np.testing.assert_allclose(
                out.detach().transpose(0, 1), np.array(expected), rtol=1e-4, atol=1e-5
            )
            gradient = np.random.default_rng(step[2]).normal(size=out.shape).astype(np.float32)
            out.backward(torch.from_numpy(gradient))
            tables.step()
            for place, (table, table_bags) in enumerate(zip(plain.values(), batch, strict=True)):
                table.learn(table_bags, gradient[:, place])
        elif step[0] == "adapt":
            tables.adapt()
            for table in plain.values():
                table.adapt()
        elif step[0] == "resize":
            tables.tables[step[1]].resize(step[2])
            plain[step[1]].resize(step[2])
        else:
            state, tables = tables.state_dict(), new_tables()
            tables.load_state_dict(state)
        assert_same(tables, plain)
    assert tables.churn() == {name: tuple(table.churn) for name, table in plain.items()}


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=20), st.integers(0, 20))
def test_a_checkpoint_anywhere_changes_no_bit(sequence, at):
    def fresh() -> EmbeddingTables:
        learns = [replace(config, half_lives=(2, 5, 40)) for config in CONFIGS]
        return EmbeddingTables(learns, DIM, LR, EPS, 0.5, seed=1, tuning=Tuning(round_events=3))

    results = []
    for save in (False, True):
        tables = fresh()
        for place, step in enumerate(sequence):
            if save and place == at:
                state, tables = tables.state_dict(), fresh()
                tables.load_state_dict(state)
            if step[0] == "learn":
                ids, offsets, weights = flat(step[1])
                tables.admit(ids, offsets)
                generator = torch.Generator().manual_seed(step[2])
                out = tables(ids, offsets, weights)
                out.backward(torch.randn(out.shape, generator=generator))
                tables.step()
            elif step[0] == "adapt":
                tables.adapt()
            elif step[0] == "resize":
                tables.tables[step[1]].resize(step[2])
        results.append(tables.state_dict())
    straight, resumed = results
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, resumed[name]), name
        else:
            assert value == resumed[name], name


@pytest.mark.parametrize("half_life", [3.0, 1000.0])
def test_counts_survive_a_stream_much_longer_than_their_half_life(half_life):
    config = TableConfig("t", 2, admission=1, half_life=half_life, hysteresis=1.0)
    tables = EmbeddingTables([config], 2, LR)
    for batch in range(3000):
        now = np.array([batch // 1000, 50 + batch // 1000, 7, 7])
        tables.admit(now)
        tables.adapt()
    assert 7 in tables.tables["t"].ids()
    assert set(tables.tables["t"].ids()) <= {7, 2, 52}
    assert np.isfinite(tables.cache.rows.counts).all()
