"""A user's own model with its tables swapped: the same numbers, a loop that need not know."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from stream_prune.embedding import (
    StreamEmbedding,
    StreamEmbeddingBag,
    TableConfig,
    swap_tables,
)
from stream_prune.errors import ConfigError
from stream_prune.sparsity import ADS, Budget, SparsityController

ROWS = 12


class Shop(nn.Module):
    """A model as somebody may have written it, of every kind of table that can be swapped."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.item = nn.Embedding(ROWS, dim)
        self.seller = nn.Embedding(ROWS, dim, padding_idx=-1)
        self.words = nn.EmbeddingBag(ROWS, dim, mode="sum", include_last_offset=True)
        self.viewed = nn.EmbeddingBag(ROWS, dim, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(4 * dim, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        vectors = [
            self.item(batch["item"]),
            self.seller(batch["seller"]).sum(1),
            self.words(batch["words"], batch["ends"], batch["weights"]),
            self.viewed(batch["viewed"]),
        ]
        return self.head(torch.cat(vectors, 1)).squeeze(1)


def shop(dim: int = 1) -> Shop:
    torch.manual_seed(0)
    return Shop(dim)


def batch(seed: int, rows: int = ROWS) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(rows, (6, 8), generator=draw)
    return {
        "item": ids[:, 0],
        "seller": ids[:, 1:4],
        "words": ids[:, 4].to(torch.int32),
        "ends": torch.tensor([0, 2, 2, 3, 3, 5, 6], dtype=torch.int32),
        "weights": torch.rand(6, generator=draw),
        "viewed": ids[:, 5:] % 4,  # many are 0, the padding
        "label": torch.rand(6, generator=draw),
    }


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: range, rows: int = ROWS):
    for seed in seeds:
        optimizer.zero_grad()
        data = batch(seed, rows)
        (model(data) - data["label"]).square().mean().backward()
        optimizer.step()


def adagrad(model: nn.Module) -> torch.optim.Adagrad:
    return torch.optim.Adagrad(model.parameters(), lr=0.1)


def states_equal(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(v, second[k]) if isinstance(v, Tensor) else v == second[k]
        for k, v in first.items()
    )


def test_a_swapped_model_gives_the_same_and_goes_on_learning_the_same():
    # At one component a row, row-wise Adagrad is Adagrad.
    model = shop()
    optimizer = adagrad(model)
    learn(model, optimizer, range(5))
    torchs = copy.deepcopy(model)
    torchs_optimizer = adagrad(torchs)
    torchs_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    swapped = swap_tables(model, optimizer)
    assert sorted(swapped.tables) == ["item", "seller", "viewed", "words"]
    assert torch.allclose(model(batch(99)), torchs(batch(99)), atol=1e-6)
    swapped.discard()
    learn(model, optimizer, range(5, 15))
    learn(torchs, torchs_optimizer, range(5, 15))
    for module in (model, torchs):
        module.eval()
    assert torch.allclose(model(batch(99)), torchs(batch(99)), atol=1e-5)
    rows = model.item.table.weight()[1:]
    assert torch.allclose(rows, torchs.item.weight.detach(), atol=1e-5)


def test_a_cut_keeps_the_rows_that_the_optimizer_has_moved_most():
    model = nn.Sequential(nn.Embedding(6, 2))
    optimizer = adagrad(model)
    for ids, weight in (([5, 5], 3.0), ([2], 2.0), ([0, 1], 0.1)):
        optimizer.zero_grad()
        (model(torch.tensor(ids)).sum() * weight).backward()
        optimizer.step()
    learned = model[0].weight.detach().clone()
    table = swap_tables(model, optimizer).tables["0"]
    table.resize(2)
    assert table.ids().tolist() == [2, 5]
    assert torch.equal(table.weight()[1:], learned[[2, 5]])


def test_only_the_optimizer_of_the_rest_is_left_and_its_scheduler_goes_on():
    model = shop(dim=4)
    optimizer = torch.optim.SGD(
        [
            {"params": model.head.parameters()},
            {"params": [p for n, p in model.named_parameters() if "head" not in n], "lr": 0.2},
        ],
        lr=0.1,
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    swapped = swap_tables(model, optimizer, lr=0.1, carry_state=False)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()} == {id(p) for p in model.head.parameters()}
    before = model.item.table.weight()
    learn(model, optimizer, range(2))
    scheduler.step()
    assert not torch.equal(before, model.item.table.weight())
    assert swapped.modules["item"].table.weight().isfinite().all()


def test_a_compiled_model_learns_alike(recwarn):
    models = [shop(dim=4) for _ in range(2)]
    for model in models:
        optimizer = torch.optim.Adam(model.parameters())
        swap_tables(model, optimizer, lr=0.1, carry_state=False)
        compiled = model is models[1]
        learn(torch.compile(model, backend="eager") if compiled else model, optimizer, range(3))
    assert states_equal(*models)
    assert not [w for w in recwarn if "graph" in str(w.message)]


def test_an_optimizer_of_later_and_a_loop_of_ones_own_train_the_rows_alike():
    models = [shop(dim=4) for _ in range(2)]
    swaps = [swap_tables(model, lr=0.1) for model in models]
    later, own = (torch.optim.Adam(model.parameters()) for model in models)
    swaps[0].step_with(later)
    learn(models[0], later, range(3))
    for seed in range(3):
        learn(models[1], own, range(seed, seed + 1))
        swaps[1].step()
    assert states_equal(*models)


def test_scoring_inserts_nothing_and_learning_does():
    module = StreamEmbedding(4, 2, config=TableConfig("item", 0, admission=1))
    ids = torch.tensor([[5, 2**63 - 1], [5, 7]])
    before = copy.deepcopy(module)
    with torch.no_grad():
        assert module(ids).shape == (2, 2, 2)
    module.eval()
    module(ids)
    module.train()
    assert states_equal(module, before)
    module(ids)
    assert sorted(module.table.ids().tolist()) == [5, 7, 2**63 - 1]


def test_new_ids_take_the_places_of_old_ones_when_a_window_ends():
    model = nn.Sequential(nn.Embedding(4, 2))
    config = TableConfig("", 0, half_life=4)
    swapped = swap_tables(model, lr=0.1, config=config, window_rows=20)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    swapped.step_with(optimizer)
    table = swapped.tables["0"]
    for step in range(1, 6):
        model(torch.tensor([3, 100, 101, 3])).sum().backward()
        optimizer.param_groups[0]["params"][0].grad = torch.zeros(1)
        optimizer.step()
        expected = [0, 1, 2, 3] if step < 5 else [3, 100, 101]
        assert set(expected) <= set(table.ids().tolist())


def test_a_checkpoint_in_between_changes_nothing():
    def made() -> tuple[Shop, torch.optim.Optimizer]:
        model = shop(dim=3)
        optimizer = torch.optim.Adam(model.parameters())
        config = TableConfig("", 0, half_life=10, waiting=0.5)
        swap_tables(model, optimizer, lr=0.1, carry_state=False, config=config, window_rows=7)
        return model, optimizer

    model, optimizer = made()
    learn(model, optimizer, range(4), rows=40)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again, its_optimizer = made()
    again.load_state_dict(saved["model"])
    its_optimizer.load_state_dict(saved["optimizer"])
    learn(model, optimizer, range(4, 12), rows=40)
    learn(again, its_optimizer, range(4, 12), rows=40)
    assert model.item.table.ids().max() >= ROWS
    assert states_equal(model, again)


def test_gradients_that_are_not_finite_and_dropped_steps_leave_the_rows_alone():
    model = shop(dim=2)
    optimizer = torch.optim.Adam(model.parameters())
    swap_tables(model, optimizer, lr=0.1, carry_state=False)
    before = model.item.table.weight()
    (model(batch(0)).sum() * float("nan")).backward()
    optimizer.step()
    assert torch.equal(before, model.item.table.weight())
    model = shop(dim=2)
    optimizer = torch.optim.Adam(model.parameters())
    swap_tables(model, optimizer, lr=0.1, carry_state=False)
    model(batch(0)).sum().backward()
    optimizer.zero_grad()  # as who drops a step does
    optimizer.step()
    assert torch.equal(before, model.item.table.weight())


def test_a_controller_takes_the_swapped_tables():
    model = shop(dim=4)
    optimizer = torch.optim.Adam(model.parameters())
    swapped = swap_tables(model, optimizer, lr=0.1, carry_state=False)
    controller = SparsityController(
        model,
        optimizer,
        policy=ADS(),
        budget=Budget(macs=0.6, rows=0.5, min_units=2, round_to=2, whole_tables_below=0),
        example=(batch(0),),
        tables=swapped.tables,
        window_rows=12,
    )
    assert model.item.rows.cache.events == 0  # it has run the model on the example, as scoring
    for seed in range(60):
        learn(model, optimizer, range(seed, seed + 1))
        data = batch(seed)
        with torch.no_grad():
            scores = torch.sigmoid(model(data)).numpy()
        controller.step(
            labels=(data["label"] > 0.5).float().numpy(), scores=scores, event_time=seed
        )
    assert sum(t.capacity for t in swapped.tables.values()) <= 4 * ROWS // 2
    assert all(t.rows_used <= t.capacity for t in swapped.tables.values())


def tied() -> tuple[nn.Module, dict[str, object]]:
    model = nn.ModuleDict({"t": nn.Embedding(4, 2), "out": nn.Linear(2, 4, bias=False)})
    model["out"].weight = model["t"].weight
    return model, {"lr": 0.1}


def one(**options: object) -> nn.ModuleDict:
    return nn.ModuleDict({"t": nn.Embedding(4, 2, **options)})


def frozen() -> nn.ModuleDict:
    model = one()
    model["t"].weight.requires_grad_(False)
    return model


def held(kind: type, model: nn.Module, **settings: object) -> dict[str, object]:
    return {"optimizer": kind(model.parameters(), lr=0.1, **settings)}


BAD = one(padding_idx=1)
with torch.no_grad():
    BAD["t"].weight[1] = 1.0
MODEL = one()

REFUSED = {
    "max_norm": (one(max_norm=1.0), {"lr": 0.1}),
    "scale_grad_by_freq": (one(scale_grad_by_freq=True), {"lr": 0.1}),
    "float64": (one(dtype=torch.float64), {"lr": 0.1}),
    "'max'": (nn.ModuleDict({"t": nn.EmbeddingBag(4, 2, mode="max")}), {"lr": 0.1}),
    "frozen": (frozen(), {"lr": 0.1}),
    "another module uses its weight": tied(),
    "padding_idx = 1 is not zero": (BAD, {"lr": 0.1}),
    "lr = None": (one(), {}),
    "cold_share": (one(), {"lr": 0.1, "config": TableConfig("", 0, cold_share=0.5)}),
    "it has \\['t'\\]": (one(), {"lr": 0.1, "names": ["u"]}),
    "doesn't hold it": (one(), held(torch.optim.Adagrad, nn.Linear(1, 1))),
    "Adam trains it": (MODEL, held(torch.optim.Adam, MODEL)),
    "weight_decay = 0.1": (MODEL, held(torch.optim.Adagrad, MODEL, weight_decay=0.1)),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_swapped_is_refused_by_name_and_nothing_is_changed(why: str):
    model, settings = REFUSED[why]
    before = dict(model.named_modules())
    with pytest.raises(ConfigError, match=why):
        swap_tables(model, **settings)
    assert dict(model.named_modules()) == before


def test_a_subclass_and_a_model_that_is_a_table_are_refused():
    class Mine(nn.Embedding):
        pass

    with pytest.raises(ConfigError, match="a Mine"):
        swap_tables(nn.ModuleDict({"t": Mine(4, 2)}), lr=0.1)
    with pytest.raises(ConfigError, match="is a table itself"):
        swap_tables(nn.Embedding(4, 2), lr=0.1)


def test_a_module_in_two_places_is_swapped_in_both():
    shared = nn.Embedding(4, 2)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
    swapped = swap_tables(model, lr=0.1)
    assert model["a"] is model["b"][0] is swapped.modules["a"]


@pytest.mark.parametrize(
    ("ids", "offsets", "weights", "why"),
    [
        ([1, 2], None, None, "without offsets"),
        ([1, 2], [1], None, "rise from 0"),
        ([1, 2], [0, 2, 1], None, "must not fall"),
        ([1, 2], [0], [1.0], "shape"),
        ([1, 2], [0], [1.0, -1.0], "not negative"),
        ([1, -2], [0], None, "must not be negative"),
    ],
)
def test_bad_bags_are_refused(ids, offsets, weights, why):
    module = StreamEmbeddingBag(4, 2, mode="sum")
    bounds = None if offsets is None else torch.tensor(offsets)
    share = None if weights is None else torch.tensor(weights)
    with pytest.raises(ValueError, match=why):
        module(torch.tensor(ids), bounds, share)
    with pytest.raises(TypeError, match="float32"):
        module(torch.tensor([[1.0]]))
