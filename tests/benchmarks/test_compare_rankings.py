"""The comparison of recommenders of implicit feedback: what it counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from compare_rankings.contenders import CONTENDERS, DENSE, VARIANTS, Contender, Variant
from compare_rankings.cost import Masked, disk_bytes, products, training_bytes
from compare_rankings.figures import compared, flat
from compare_rankings.peer import peer_figures
from compare_rankings.runs import at_best_rate

from stream_prune.interactions import InteractionLog
from stream_prune.models.lightgcn import LightGCN, LightGCNConfig
from stream_prune.models.multvae import MultVAE, MultVAEConfig
from stream_prune.models.neumf import NeuMF, NeuMFConfig
from stream_prune.sparsity.cost import dense_cost
from stream_prune.sparsity.example import Example
from stream_prune.training.implicit_batches import WholeUsers
from stream_prune.training.interaction_split import InteractionSplit, split

SMALL = Contender(
    make=lambda parts: MultVAE(MultVAEConfig(24, hidden=(16,), latent=4)),
    batches=lambda parts: WholeUsers(parts.train, 10),
    example=lambda parts: (torch.rand(4, 24),),
    examples=10,
    epochs=3,
    rates=(1e-5, 0.01),
)


@pytest.fixture(scope="module")
def parts() -> InteractionSplit:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((30, 24)) < 0.5)
    return split(InteractionLog(user, item, np.zeros_like(user), 30, 24))


def thinned(model: torch.nn.Module, share: float) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for param in model.parameters():
            if param.dim() > 1:
                param.mul_(torch.rand_like(param) < share)
    return model


def test_a_dense_model_has_the_products_that_torch_counts() -> None:
    neumf, pair = NeuMF(NeuMFConfig(5, 7)), (torch.arange(2), torch.arange(2))
    counted = dense_cost(neumf, Example(pair))
    found = products(neumf, batch=10)
    assert found.inference == 7 * counted.macs_inference
    assert found.training == 10 * counted.macs_training
    vae, rows = MultVAE(MultVAEConfig(7, hidden=(6,), latent=3)), torch.zeros(2, 7)
    counted, found = dense_cost(vae, Example(rows)), products(vae, batch=10)
    assert (found.inference, found.training) == (
        counted.macs_inference,
        10 * counted.macs_training,
    )


def test_zeros_cost_nothing_but_where_masks_look_for_more() -> None:
    model = thinned(NeuMF(NeuMFConfig(5, 7)), 0.2)
    layers = [layer.weight for layer in (*model.mlp, model.output) if hasattr(layer, "weight")]
    left, size = (sum(int(n) for n in each) for each in zip(
        *((w.count_nonzero(), w.numel()) for w in layers), strict=True
    ))  # fmt: skip
    assert products(model, 10).inference == 7 * left
    # Forward, and the gradients of the weights and of the inputs: three passes a layer.
    assert products(model, 10).training == 30 * left
    kept = {n: int(p.count_nonzero()) for n, p in model.named_parameters() if p.dim() > 1}
    masked = products(model, 10, Masked(kept, every=4))
    assert masked.training == 30 * left + 10 * (size - left) / 4


def test_lightgcns_products_are_counted_edge_by_edge(parts: InteractionSplit) -> None:
    pairs = torch.from_numpy(parts.train.users), torch.from_numpy(parts.train.items)
    model = thinned(LightGCN(LightGCNConfig(30, 24, dim=4, layers=2), *pairs), 0.3)
    forth, back = (block.to_dense() for block in model.blocks())
    passed, users, items = 0, model.users.weight.detach(), model.items.weight.detach()
    for _ in range(2):
        for user, item in zip(*(ids.tolist() for ids in pairs), strict=True):
            passed += int(items[item].count_nonzero()) + int(users[user].count_nonzero())
        users, items = forth @ items, back @ users
    found = products(model, batch=8)
    assert found.inference == pytest.approx(passed / 30 + 24 * 4)
    edges, pairs_cost = 2 * 4 * len(parts.train), 6 * 8 * 4
    assert found.training == pytest.approx(passed + 2 * edges + pairs_cost)
    kept = {name: int(param.count_nonzero()) for name, param in model.named_parameters()}
    density = sum(kept.values()) / ((30 + 24) * 4)
    found = products(model, 8, Masked(kept, every=10))
    asked = density + (1 - density) / 10
    assert found.training == pytest.approx(passed + edges * (1 + asked) + pairs_cost)


def test_runs_are_compared_with_the_dense_model_of_their_seed(parts: InteractionSplit) -> None:
    outcomes = [
        outcome
        for variant in (DENSE, Variant(0.5), Variant(0.5, "erk"))
        for outcome in at_best_rate("MultVAE", SMALL, parts, variant, (0, 1))
    ]
    assert [outcome.seed for outcome in outcomes] == [0, 1] * 3
    dense, masked = outcomes[0], outcomes[2]
    assert masked.run == dense.run == dense.left
    assert masked.left.inference <= 0.5 * dense.left.inference
    assert {outcome.rate for outcome in outcomes[:2]} == {0.01}  # the other one learns nothing
    assert masked.training_bytes > dense.training_bytes  # masks come on top
    assert masked.disk_bytes < dense.disk_bytes
    figures = {figure.name: figure for figure in compared("MultVAE", outcomes)}
    recalls = [[o.test.recall for o in outcomes[first : first + 2]] for first in (0, 2)]
    over = figures["MultVAE dsl 50%: Recall@20 over dense"].value
    assert over == pytest.approx(100 * (np.mean(recalls[1]) / np.mean(recalls[0]) - 1))
    assert figures["MultVAE dense: NDCG@20"].value == pytest.approx(
        np.mean([outcome.test.ndcg for outcome in outcomes[:2]])
    )
    assert "MultVAE dsl 50% erk: on disk" in figures
    json.dumps([flat(outcome) for outcome in outcomes])


def test_memory_is_weights_gradients_and_the_optimizers_state() -> None:
    model = MultVAE(MultVAEConfig(7, hidden=(6,), latent=3))
    optimizer = torch.optim.Adam(model.parameters())
    weights = sum(4 * param.numel() for param in model.parameters())
    assert training_bytes(model, optimizer, None) == 2 * weights
    model.loss(torch.ones(2, 7), 0.1).backward()
    optimizer.step()
    steps = 4 * len(list(model.parameters()))
    assert training_bytes(model, optimizer, None) == 4 * weights + steps
    assert weights < disk_bytes(model, None) < weights + 2000


def test_every_model_is_compared_dense_and_at_four_sparsities() -> None:
    assert list(CONTENDERS) == ["NeuMF", "LightGCN", "MultVAE"]
    plain = [variant.sparsity for variant in VARIANTS if variant.spread == "uniform"]
    assert plain == [0.0, 0.5, 0.8, 0.9, 0.95]


def test_recboles_models_get_the_same_split_rate_and_seed(
    parts: InteractionSplit, tmp_path: Path
) -> None:
    contender = Contender(
        make=lambda parts: MultVAE(MultVAEConfig(24, hidden=(16,), latent=4)),
        batches=lambda parts: WholeUsers(parts.train, 10),
        example=lambda parts: (torch.rand(4, 24),),
        examples=10,
        epochs=1,
        rates=(0.01,),
    )
    dense = at_best_rate("MultVAE", contender, parts, DENSE, (4,))
    seen, ours = tmp_path / "seen", dense[0].test
    interpreter = tmp_path / "python"
    answer = json.dumps({"recall": ours.recall, "ndcg": ours.ndcg + 0.5})
    interpreter.write_text(
        f'#!/bin/sh\necho "$2 $4 $5 $6" > {seen}\ncat "$3/ml/ml.test.inter" >> {seen}\n'
        f"echo noise\necho '{answer}'\n"
    )
    interpreter.chmod(0o755)
    recall, ndcg = peer_figures(interpreter, "MultVAE", 1, parts, dense, tmp_path / "kept")
    first, header, *pairs = seen.read_text().splitlines()
    assert (first, header) == ("MultVAE 1 0.01 4", "user_id:token\titem_id:token")
    assert [tuple(map(int, pair.split("\t"))) for pair in pairs] == list(
        zip(parts.test.users.tolist(), parts.test.items.tolist(), strict=True)
    )
    assert (recall.value, recall.holds, ndcg.holds) == (ours.recall, True, False)
    seen.unlink()  # what is kept is not made again
    assert peer_figures(interpreter, "MultVAE", 1, parts, dense, tmp_path / "kept")[0] == recall
    assert not seen.exists()


def test_a_finished_run_is_kept_and_not_made_again(
    parts: InteractionSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contender = replace(SMALL, rates=(0.01,))
    (made,) = at_best_rate("MultVAE", contender, parts, Variant(0.5), (0,), tmp_path)
    monkeypatch.setattr("compare_rankings.runs.trained", None)  # it cannot be made again
    (again,) = at_best_rate("MultVAE", contender, parts, Variant(0.5), (0,), tmp_path)
    assert flat(again) == flat(made)
    np.testing.assert_array_equal(again.test.ndcgs, made.test.ndcgs)
