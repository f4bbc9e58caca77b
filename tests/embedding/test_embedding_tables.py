"""What a user of EmbeddingTables meets: bad input, edges, who may train what, and when."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from stream_prune.embedding import EmbeddingTables, TableConfig

MISSING_ID = 2**63 - 1


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def one_table(**settings: object) -> EmbeddingTables:
    values = {"capacity": 4, "admission": 1} | settings
    return EmbeddingTables([TableConfig("t", **values)], dim=2, lr=0.1)


def learn(tables: EmbeddingTables, batch: np.ndarray, offsets: np.ndarray | None = None) -> None:
    tables.admit(batch, offsets)
    tables(batch, offsets).square().sum().backward()
    tables.step()


def snapshot(tables: EmbeddingTables) -> dict[str, object]:
    return copy.deepcopy(dict(tables.state_dict()))


def assert_equal_states(a: dict[str, object], b: dict[str, object]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, name


def test_scoring_counts_nothing_and_changes_nothing():
    tables = one_table()
    learn(tables, ids(1, 2))
    before = snapshot(tables)
    with torch.no_grad():
        tables(ids(1, 7, MISSING_ID))
    tables.lookup(ids(8, 9))
    tables.step()
    tables.adapt()
    assert_equal_states(before, snapshot(tables))


def test_with_admission_at_one_an_id_owns_a_row_before_it_is_learned():
    tables = one_table()
    cold = tables.tables["t"].weight()[0].clone()
    learn(tables, ids(5))
    assert tables.tables["t"].ids().tolist() == [5]
    after = tables.tables["t"].weight()
    assert torch.equal(after[0], cold)
    assert not torch.equal(after[1], cold)


def test_with_admission_at_two_the_second_sighting_within_a_half_life_owns_a_row():
    tables = one_table(admission=2, half_life=10)
    tables.admit(ids(5))
    tables.admit(ids(*range(100, 108)))
    assert tables.tables["t"].rows_used == 0
    tables.admit(ids(5, *range(200, 240)))
    assert tables.tables["t"].ids().tolist() == [5]
    tables.admit(ids(100))
    assert tables.tables["t"].ids().tolist() == [5]


def test_a_missing_value_is_an_id_like_any_other():
    tables = one_table()
    learn(tables, ids(MISSING_ID, MISSING_ID))
    assert tables.tables["t"].ids().tolist() == [MISSING_ID]


def test_a_set_that_follows_trades_a_dead_id_for_a_live_one():
    tables = one_table(capacity=1, admission=2)
    tables.admit(ids(1, 1))
    tables.admit(ids(2, 2))
    tables.adapt()
    assert tables.tables["t"].ids().tolist() == [1]  # hysteresis: as good is not enough
    tables.admit(ids(2))
    tables.adapt()
    assert tables.tables["t"].ids().tolist() == [2]
    assert tables.churn() == {"t": (2, 1)}
    assert tables.churn() == {"t": (0, 0)}


def test_a_fixed_set_stays_after_the_first_cut_and_never_before():
    tables = one_table(capacity=3, follow=False)
    table = tables.tables["t"]
    learn(tables, ids(1, 2, 2, 3, 3, 3))
    table.resize(4)
    learn(tables, ids(4))
    assert table.ids().tolist() == [1, 2, 3, 4]
    table.resize(2)
    table.resize(4)
    for _ in range(5):
        learn(tables, ids(9, 9, 9))
        tables.adapt()
    assert table.ids().tolist() == [2, 3]


@pytest.mark.parametrize("follow", [True, False])
def test_capacity_zero_gives_everybody_the_cold_row(follow):
    tables = one_table(capacity=0, follow=follow)
    for _ in range(3):
        learn(tables, ids(1, 1, 2))
        tables.adapt()
    assert tables.lookup(ids(1, 2, 3)).tolist() == [0, 0, 0]
    assert tables.tables["t"].rows_used == 0


def test_an_id_means_another_row_in_every_table():
    tables = EmbeddingTables([TableConfig(n, 2, admission=1) for n in "ab"], dim=2, lr=0.1)
    learn(tables, ids(7, 7))
    rows = tables.lookup(ids(7, 7)).tolist()
    assert len(set(rows)) == 2
    assert tables(ids(7, 7)).shape == (1, 2, 2)


def test_an_empty_bag_reads_and_trains_the_cold_row():
    tables = one_table()
    cold = tables.tables["t"].weight()[0]
    offsets = ids(0, 0)
    out = tables(ids(), offsets)
    assert torch.equal(out[0, 0], cold)
    out.sum().backward()
    tables.step()
    assert not torch.equal(tables.tables["t"].weight()[0], cold)


def test_an_empty_batch_is_a_batch():
    tables = EmbeddingTables([TableConfig(n, 2) for n in "ab"], dim=3, lr=0.1)
    tables.admit(ids())
    assert tables(ids()).shape == (0, 2, 3)
    assert tables(ids(), ids(0)).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("batch", "offsets", "error", "message"),
    [
        (ids(1, -3), None, ValueError, "table 'b': id -3"),
        (np.array([1, 2**64 - 1], np.uint64), None, TypeError, "ids: uint64: must be int64"),
        (np.array([1.0, 2.0]), None, TypeError, "ids: float64: must be int64"),
        (ids(1, 2, 3), None, ValueError, "3 ids don't divide into 2 tables"),
        (ids(1, 2), ids(0, 1), ValueError, "1 bags don't divide into 2 tables"),
        (ids(1, 2), ids(0, 2, 1), ValueError, "offsets must rise"),
        (ids(1, 2), ids(0, 1, 3), ValueError, "offsets must rise"),
        (ids(1, 2), ids(), ValueError, "bags don't divide"),
    ],
)
def test_bad_ids_are_refused_and_not_counted(batch, offsets, error, message):
    tables = EmbeddingTables([TableConfig(n, 2, admission=1) for n in "ab"], dim=2, lr=0.1)
    before = snapshot(tables)
    for use in (tables.admit, tables.lookup, tables):
        with pytest.raises(error, match=message):
            use(batch, offsets)
    assert_equal_states(before, snapshot(tables))


@pytest.mark.parametrize(
    "wrong", [{"capacity": -1}, {"admission": 0}, {"half_life": float("nan")}, {"hysteresis": 0.9}]
)
def test_a_configuration_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"table 't': {next(iter(wrong))} = "):
        TableConfig("t", **({"capacity": 1} | wrong))


def test_tables_need_names_of_their_own():
    for configs in ([], [TableConfig("t", 1), TableConfig("t", 2)]):
        with pytest.raises(ValueError, match="each with a name of its own"):
            EmbeddingTables(configs, dim=2, lr=0.1)


def test_a_wrong_resize_is_refused():
    tables = one_table()
    with pytest.raises(ValueError, match="table 't': capacity = -1"):
        tables.tables["t"].resize(-1)
    with pytest.raises(KeyError, match="nobody"):
        tables.resize({"nobody": 3})


def test_nothing_moves_while_gradients_wait():
    tables = one_table()
    tables.admit(ids(1))
    tables(ids(1)).sum().backward()
    for move in (tables.adapt, lambda: tables.tables["t"].resize(1), tables.state_dict):
        with pytest.raises(RuntimeError, match=r"call step\(\)"):
            move()


def test_an_old_graph_survives_a_resize_but_its_gradient_is_not_misapplied():
    tables = one_table()
    weight = nn.Parameter(torch.ones(2))
    tables.admit(ids(1, 2))
    loss = (tables(ids(1, 2)) * weight).sum()
    tables.tables["t"].resize(1)
    loss.backward()
    assert weight.grad is not None
    before = tables.weight.clone()
    with pytest.raises(RuntimeError, match="rows changed hands"):
        tables.step()
    assert torch.equal(tables.weight, before)
    learn(tables, ids(1, 2))


def test_what_admit_found_is_not_read_after_rows_changed_hands():
    tables = one_table()
    found = tables.admit(ids(1, 2))
    tables.tables["t"].resize(1)
    with pytest.raises(RuntimeError, match="rows changed hands"):
        tables.read(found)


def test_a_forward_pass_that_is_never_learned_leaves_nothing_behind():
    tables = one_table()
    learn(tables, ids(1))
    before = snapshot(tables)
    tables(ids(1))
    tables.step()
    assert_equal_states(before, snapshot(tables))


def test_gradients_of_several_passes_are_one_step():
    together, apart = one_table(), one_table()
    for tables in (together, apart):
        tables.admit(ids(1, 2, 1, 3))
    together(ids(1, 2, 1, 3)).sum().backward()
    apart(ids(1, 2)).sum().backward()
    apart(ids(1, 3)).sum().backward()
    for tables in (together, apart):
        tables.step()
    assert torch.equal(together.weight, apart.weight)


def test_the_rate_multiplies_the_learning_rate_and_is_checkpointed():
    plain, fast = one_table(), one_table()
    fast.rate = 3.0
    start = plain.weight.clone()
    resumed = one_table()
    resumed.load_state_dict(fast.state_dict())
    for tables in (plain, fast, resumed):
        learn(tables, ids(1))
    torch.testing.assert_close(fast.weight[1] - start[0], 3 * (plain.weight[1] - start[0]))
    assert torch.equal(fast.weight, resumed.weight)


def test_tables_are_saved_inside_a_users_module_too():
    def model() -> nn.Module:
        return nn.ModuleDict({"tables": one_table(), "head": nn.Linear(2, 1)})

    trained, fresh = model(), model()
    learn(trained["tables"], ids(1, 2, 3))
    trained["tables"].tables["t"].resize(2)
    fresh.load_state_dict(trained.state_dict())
    assert_equal_states(snapshot(trained["tables"]), snapshot(fresh["tables"]))
    assert not list(trained["tables"].parameters())


def test_a_state_of_other_tables_is_refused():
    with pytest.raises(RuntimeError, match=r"saved as .*this model has"):
        one_table().load_state_dict(one_table(capacity=5).state_dict())
    state = one_table().state_dict()
    del state["rows.owner"]
    with pytest.raises(RuntimeError, match=r"Missing key.*rows\.owner"):
        one_table().load_state_dict(state)


def test_a_state_is_a_copy():
    tables = one_table()
    learn(tables, ids(1))
    state, before = tables.state_dict(), snapshot(tables)
    for _ in range(3):
        learn(tables, ids(1, 2, 3, 4, 5))
        tables.adapt()
    assert_equal_states(before, dict(state))


def test_read_only_and_strided_ids_are_welcome():
    tables = one_table()
    wide = np.arange(8, dtype=np.int64)
    wide.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn(tables, wide[:4])
        learn(tables, wide[::2])
    assert tables.tables["t"].ids().tolist() == [0, 1, 2, 3]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tables_on_a_gpu_agree_with_those_on_the_cpu():
    configs = [TableConfig("a", 5, half_life=50), TableConfig("b", 3, admission=1, half_life=50)]
    generator = np.random.default_rng(0)
    pair = [EmbeddingTables(configs, dim=4, lr=0.1, device=d) for d in ("cpu", "cuda")]
    for step in range(60):
        batch = generator.zipf(1.5, size=32) % 50
        weights = torch.from_numpy(generator.normal(size=(16, 2, 4))).float()
        for tables in pair:
            tables.admit(batch)
            out = tables(batch)
            out.backward(weights.to(out.device))
            tables.step()
            tables.adapt()
            if step == 40:
                tables.resize({"a": 3, "b": 4})
    cpu, cuda = pair
    for name, table in cpu.tables.items():
        assert table.ids().tolist() == cuda.tables[name].ids().tolist()
    torch.testing.assert_close(cpu.weight, cuda.weight.cpu(), rtol=1e-4, atol=1e-5)


def test_of_a_bag_that_is_longer_than_the_cap_the_last_values_count():
    tables = EmbeddingTables(
        [TableConfig("long", 8, admission=1, most_values=2), TableConfig("all", 8, admission=1)],
        dim=2,
        lr=0.1,
    )
    bags = ids(9, 4, 5, 6, 7, 1, 2, 3, 8)
    offsets = ids(0, 4, 5, 8, 9)  # of the first table 4 values and 1, of the second 3 and 1
    weights = np.arange(9, dtype=np.float32)
    found = tables.admit(bags, offsets, weights)
    assert sorted(tables.tables["long"].ids().tolist()) == [5, 6, 7]
    assert sorted(tables.tables["all"].ids().tolist()) == [1, 2, 3, 8]
    assert found.rows.tolist() == tables.lookup(bags, offsets).tolist()
    assert found.weights.tolist() == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    shorter = tables(bags[2:], ids(0, 2, 3, 6, 7), weights[2:])
    assert torch.equal(tables(bags, offsets, weights), shorter)
    with pytest.raises(ValueError, match="most_values = 0: must be 1 or more"):
        TableConfig("t", 4, most_values=0)
