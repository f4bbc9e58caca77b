"""Models that more than one optimizer trains, as recommenders with sparse embeddings are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import SGD, Adagrad, Adam, Optimizer, SparseAdam

from stream_prune.errors import ConfigError
from stream_prune.sparsity import Budget, SparsityController, Static

ONCE = Static(warmup_rows=200)


class Bags(nn.Module):
    """Embedding bags with sparse gradients, and layers that read them."""

    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.EmbeddingBag(50, 8, mode="sum", sparse=True)
        self.layers = nn.Sequential(
            nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, ids: Tensor) -> Tensor:
        return self.layers(self.bags(ids)).squeeze(1)


def controlled(model: Bags, optimizer: Optimizer, macs: float = 0.3) -> SparsityController:
    return SparsityController(
        model,
        optimizer,
        policy=ONCE,
        budget=Budget(macs=macs, min_units=4, round_to=4),
        example=torch.randint(0, 50, (4, 3)),
        window_rows=200,
    )


def learn(model: Bags, controller: SparsityController, *optimizers: Optimizer) -> list[str]:
    kinds = []
    for _ in range(20):
        ids = torch.randint(0, 50, (50, 3))
        labels = (ids[:, 0] > 25).float()
        logits = model(ids)
        for optimizer in optimizers:
            optimizer.zero_grad()
        binary_cross_entropy_with_logits(logits, labels).backward()
        for optimizer in optimizers:
            optimizer.step()
        scores = logits.detach().sigmoid()
        kinds += [event.kind for event in controller.step(labels=labels, scores=scores)]
    return kinds


def test_embeddings_with_sparse_gradients_have_an_optimizer_of_their_own() -> None:
    torch.manual_seed(0)
    model = Bags()
    dense = Adam(model.layers.parameters())
    controller = controlled(model, dense)
    assert [group.name for group in controller.groups] == ["layers.0", "layers.2"]
    assert learn(model, controller, dense, SparseAdam(model.bags.parameters())) == ["shrink"]
    assert controller.cost().macs_inference <= 0.3 * controller.dense_cost.macs_inference


@pytest.mark.parametrize("optimizer", [SGD, Adagrad])
def test_one_optimizer_that_takes_sparse_gradients_trains_it_all(
    optimizer: type[Optimizer],
) -> None:
    torch.manual_seed(0)
    model = Bags()
    every = optimizer(model.parameters(), lr=0.01)  # type: ignore[call-arg]
    assert learn(model, controlled(model, every), every) == ["shrink"]


def test_layers_that_another_optimizer_trains_stay_dense_and_say_so() -> None:
    torch.manual_seed(0)
    model = Bags()
    first = Adam(model.layers[0].parameters())
    others = Adam([*model.layers[2].parameters(), *model.layers[4].parameters()])
    controller = controlled(model, others, macs=0.7)
    assert [group.name for group in controller.groups] == ["layers.2"]
    assert "'layers.0.weight'" in controller.refused["layers.0"]
    assert "optimizer" in controller.refused["layers.0"]
    tables = SparseAdam(model.bags.parameters())
    assert learn(model, controller, first, others, tables) == ["shrink"]


def test_an_optimizer_of_another_model_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="not trained by the optimizer"):
        controlled(Bags(), Adam(Bags().parameters()))


def test_frozen_layers_belong_to_no_optimizer_and_are_resized_all_the_same() -> None:
    torch.manual_seed(0)
    model = Bags()
    model.layers[0].requires_grad_(False)
    rest = [param for param in model.layers.parameters() if param.requires_grad]
    optimizer = Adam(rest)
    controller = controlled(model, optimizer)
    assert [group.name for group in controller.groups] == ["layers.0", "layers.2"]
    tables = SparseAdam(model.bags.parameters())
    assert learn(model, controller, optimizer, tables) == ["shrink"]
