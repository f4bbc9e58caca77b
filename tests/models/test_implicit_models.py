"""Recommenders of implicit feedback: what each computes, and what is asked of all of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from make_recbole_vectors import DIM, ITEMS, LABELS, PAIRS, TRIPLES, USERS, weight
from torch import Tensor, nn
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.matching import DSSM

from stream_prune.models.lightgcn import LightGCN, LightGCNConfig, SparseProduct
from stream_prune.models.multvae import MultVAE, MultVAEConfig
from stream_prune.models.neumf import NeuMF, NeuMFConfig
from stream_prune.models.two_tower import TwoTower, TwoTowerConfig

RECBOLE = json.loads(Path(__file__).with_name("recbole_vectors.json").read_text())
USER, ITEM, NEGATIVE = torch.tensor(TRIPLES).T
PAIR_USERS, PAIR_ITEMS = torch.tensor(PAIRS).T


def rows_of(users: int = USERS) -> Tensor:
    rows = torch.zeros(USERS, ITEMS)
    rows[PAIR_USERS, PAIR_ITEMS] = 1.0
    return rows[:users]


@dataclass(frozen=True)
class Case:
    """A model, its forward pass, its loss, and its scores of the first users."""

    make: Callable[[], nn.Module]
    forward: Callable[[nn.Module], Tensor]
    loss: Callable[[nn.Module], Tensor]
    scores: Callable[[nn.Module], Tensor]
    shape: tuple[int, ...]


def by_users(model: nn.Module) -> Tensor:
    return model.scores(torch.arange(4))


CASES = {
    "neumf": Case(
        make=lambda: NeuMF(NeuMFConfig(USERS, ITEMS, dim=DIM, hidden=(6, 3))),
        forward=lambda model: model(USER, ITEM),
        loss=lambda model: model.loss(USER, ITEM, torch.tensor(LABELS).float()),
        scores=by_users,
        shape=(len(TRIPLES),),
    ),
    "lightgcn": Case(
        make=lambda: LightGCN(
            LightGCNConfig(USERS, ITEMS, dim=DIM, weight_decay=0.0), PAIR_USERS, PAIR_ITEMS
        ),
        forward=lambda model: model(USER, ITEM),
        loss=lambda model: model.loss(USER, ITEM, NEGATIVE),
        scores=by_users,
        shape=(len(TRIPLES),),
    ),
    "multvae": Case(
        make=lambda: MultVAE(MultVAEConfig(ITEMS, hidden=(6,), latent=DIM, dropout=0.0)),
        forward=lambda model: model(rows_of()).logits,
        loss=lambda model: model.loss(rows_of(4), kl_weight=0.2),
        scores=lambda model: model.scores(rows_of(4)),
        shape=(USERS, ITEMS),
    ),
    "two_tower": Case(
        make=lambda: TwoTower(TwoTowerConfig(USERS, ITEMS, dim=DIM, hidden=(6,), out=3)),
        forward=lambda model: model(USER, ITEM),
        loss=lambda model: model.loss(USER, ITEM, torch.zeros(len(TRIPLES))),
        scores=by_users,
        shape=(len(TRIPLES),),
    ),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def made(case: Case, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return case.make()


def filled(case: Case) -> nn.Module:
    """At the weights of the stored vectors."""
    model = case.make().eval()
    with torch.no_grad():
        for name, param in model.named_parameters():
            param.copy_(weight(name, tuple(param.shape)))
    return model


@EVERY
def test_shapes_are_as_documented(case):
    model = made(case).eval()
    assert case.forward(model).shape == case.shape
    assert case.loss(model).shape == ()
    assert case.scores(model).shape == (4, ITEMS)


@EVERY
def test_gradients_reach_every_parameter(case):
    model = filled(case).train()
    case.loss(model).backward()
    for name, param in model.named_parameters():
        assert param.grad is not None, name
        assert bool(param.grad.isfinite().all()), name
        assert bool(param.grad.any()), name


@EVERY
def test_a_saved_model_scores_the_same(case):
    model, other = made(case).eval(), made(case, seed=1).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(case.scores(model), case.scores(other))


@EVERY
def test_bf16_autocast_scores_about_the_same_and_trains(case):
    model = filled(case)
    plain = case.scores(model)
    with torch.autocast("cpu", torch.bfloat16):
        half, loss = case.scores(model), case.loss(model)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(half.float(), plain, rtol=0.05, atol=0.05)
    loss.backward()
    assert all(bool(param.grad.isfinite().all()) for param in model.parameters())


@EVERY
def test_a_few_steps_lower_the_loss(case):
    model = made(case).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    first = case.loss(model).item()
    for _ in range(60):
        optimizer.zero_grad()
        case.loss(model).backward()
        optimizer.step()
    assert case.loss(model).item() < 0.9 * first


@pytest.mark.parametrize("name", ["neumf", "lightgcn", "multvae"])
def test_scores_and_losses_are_those_of_recbole_at_the_same_weights(name):
    case, theirs = CASES[name], RECBOLE[name]
    model = filled(case)
    ours = model.scores(torch.arange(USERS)) if name != "multvae" else case.scores(model)
    torch.testing.assert_close(ours, torch.tensor(theirs["scores"]), atol=1e-5, rtol=1e-5)
    assert case.loss(model).item() == pytest.approx(theirs["loss"], abs=1e-5)


def test_lightgcn_is_the_mean_of_powers_of_the_normalised_adjacency_matrix():
    model = filled(CASES["lightgcn"])
    adjacency = np.zeros((USERS + ITEMS, USERS + ITEMS))
    for user, item in PAIRS:
        adjacency[user, USERS + item] = adjacency[USERS + item, user] = 1.0
    scale = 1 / np.sqrt(np.maximum(adjacency.sum(1), 1))
    step = scale[:, None] * adjacency * scale
    own = torch.cat([model.users.weight, model.items.weight]).detach().double().numpy()
    mean = sum(np.linalg.matrix_power(step, k) @ own for k in range(4)) / 4
    for found, expected in zip(model.propagate(), (mean[:USERS], mean[USERS:]), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)
    scores = model(USER, ITEM).detach().numpy()
    np.testing.assert_allclose(scores, (mean[USER] * mean[USERS + ITEM.numpy()]).sum(1), atol=1e-6)


def test_lightgcns_gradients_agree_with_finite_differences():
    blocks = [block.to_dense().double() for block in filled(CASES["lightgcn"]).blocks()]
    assert torch.equal(blocks[0].T, blocks[1])
    dense = torch.randn(ITEMS, DIM, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda items: SparseProduct.apply(*blocks, items), (dense,))


def test_lightgcn_decays_the_embeddings_of_the_batch_alone():
    plain, decayed = (
        LightGCN(LightGCNConfig(USERS, ITEMS, dim=DIM, weight_decay=d), PAIR_USERS, PAIR_ITEMS)
        for d in (0.0, 0.5)
    )
    decayed.load_state_dict(plain.state_dict())
    users, items = plain.users.weight, plain.items.weight
    norms = users[USER].square().sum() + items[ITEM].square().sum() + items[NEGATIVE].square().sum()
    added = decayed.loss(USER, ITEM, NEGATIVE) - plain.loss(USER, ITEM, NEGATIVE)
    torch.testing.assert_close(added, 0.25 * norms / len(USER))


def test_multvae_samples_its_latents_in_training_only():
    model = filled(CASES["multvae"])
    assert torch.equal(model.scores(rows_of()), model.scores(rows_of()))
    model.train()
    torch.manual_seed(0)
    drawn = torch.stack([model.decoder[0](_latent(model)) for _ in range(4000)])
    mean = model.decoder[0](model(rows_of()).mean)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.1, rtol=0.0)
    variance = model(rows_of()).log_variance.exp()
    expected = variance @ model.decoder[0].weight.square().T
    torch.testing.assert_close(drawn.var(0), expected, atol=0.1, rtol=0.1)


def _latent(model: MultVAE) -> Tensor:
    """What the decoder was given in one pass."""
    given: list[Tensor] = []
    hook = model.decoder.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    with torch.no_grad():
        model(rows_of())
    hook.remove()
    return given[0]


def test_multvae_pays_for_the_divergence_of_its_latents():
    model = filled(CASES["multvae"])
    found = model(rows_of(4))
    latents = torch.distributions.Normal(found.mean, (found.log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(DIM), torch.ones(DIM))
    divergence = torch.distributions.kl_divergence(latents, prior).sum(1).mean()
    paid = model.loss(rows_of(4), kl_weight=1.0) - model.loss(rows_of(4), kl_weight=0.0)
    torch.testing.assert_close(paid, divergence)


def test_two_towers_give_the_vectors_of_torch_rechubs_dssm_at_the_same_weights():
    ours = filled(CASES["two_tower"])
    params = {"dims": [6, 3], "activation": "prelu", "dropout": 0.0}
    columns = [SparseFeature(name, count, DIM) for name, count in (("u", USERS), ("i", ITEMS))]
    theirs = DSSM(columns[:1], columns[1:], params, dict(params)).eval()
    with torch.no_grad():
        for name, table in (("u", ours.users), ("i", ours.items)):
            theirs.embedding.embed_dict[name].weight.copy_(table.weight)
        for mine, other in ((ours.user_tower, theirs.user_mlp), (ours.item_tower, theirs.item_mlp)):
            linear, norm, slope = (
                [module for module in other.modules() if isinstance(module, kind)]
                for kind in (nn.Linear, nn.BatchNorm1d, nn.PReLU)
            )
            for layer, source in zip(linear, (mine[0], mine[2]), strict=True):
                layer.load_state_dict(source.state_dict())
            for each in norm:  # the identity
                each.running_var.fill_(1 - each.eps)
            slope[0].weight.fill_(0.0)  # ReLU
            slope[1].weight.fill_(1.0)  # nothing
    batch = {"u": USER, "i": ITEM}
    torch.testing.assert_close(ours.user_vectors(USER), theirs.user_tower(batch))
    torch.testing.assert_close(ours.item_vectors(ITEM), theirs.item_tower(batch))
    cosines = ours(USER, ITEM) * ours.config.temperature
    torch.testing.assert_close(cosines.sigmoid(), theirs(batch))


def test_two_towers_correct_for_how_often_items_are_in_a_batch():
    model = filled(CASES["two_tower"])
    users, items = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 2, 4, 6])
    log_q = torch.tensor([0.5, 0.1, 0.5, 0.2]).log()
    every = model.scores(users).detach().numpy()
    expected = []
    for row, user in enumerate(users):
        logits = [every[user, items[j]] - log_q[j].item() for j in range(4)]
        own = every[user, items[row]] - log_q[row].item()
        expected.append(np.log(np.exp(logits).sum()) - own)
    assert model.loss(users, items, log_q).item() == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.parametrize("corrected", [True, False])
def test_two_towers_rank_by_probability_if_corrected_and_by_lift_if_not(corrected):
    # Seven times of ten everybody takes item 0, otherwise an item of their own: by p(item | user)
    # item 0 comes first, by p(item | user) / p(item) the own one.
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(0, 6, (6000,), generator=generator)
    items = torch.where(torch.rand(6000, generator=generator) < 0.7, 0, 1 + users)
    log_q = (torch.bincount(items, minlength=7) / 6000).log() * corrected
    torch.manual_seed(0)
    model = TwoTower(TwoTowerConfig(6, 7, dim=8, hidden=(16,), out=8, temperature=0.2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for batch in torch.arange(6000).view(-1, 100):
        optimizer.zero_grad()
        model.loss(users[batch], items[batch], log_q[items[batch]]).backward()
        optimizer.step()
    best = model.scores(torch.arange(6)).argmax(1)
    assert best.tolist() == ([0] * 6 if corrected else [1, 2, 3, 4, 5, 6])


def test_neumf_is_a_line_over_the_product_and_the_mlp():
    model = filled(CASES["neumf"])
    weights = {name: param.detach().double().numpy() for name, param in model.named_parameters()}
    for user, item in [(0, 1), (4, 6)]:
        product = weights["user_factors.weight"][user] * weights["item_factors.weight"][item]
        hidden = np.concatenate(
            [weights["user_features.weight"][user], weights["item_features.weight"][item]]
        )
        for layer in (0, 2):
            affine = weights[f"mlp.{layer}.weight"] @ hidden + weights[f"mlp.{layer}.bias"]
            hidden = np.maximum(affine, 0)
        logit = weights["output.weight"][0] @ np.concatenate([product, hidden])
        found = model(torch.tensor([user]), torch.tensor([item])).item()
        assert found == pytest.approx(logit + weights["output.bias"][0], abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NeuMFConfig(0, 1), "users = 0: must be 1 or more"),
        (lambda: NeuMFConfig(1, 1, hidden=()), "hidden = "),
        (lambda: LightGCNConfig(1, 1, layers=0), "layers = 0: must be 1 or more"),
        (lambda: LightGCNConfig(1, 1, weight_decay=-1.0), "weight_decay = -1.0"),
        (lambda: MultVAEConfig(1, dropout=1.0), r"dropout = 1.0: must be in \[0, 1\)"),
        (lambda: MultVAEConfig(1, hidden=(0,)), "hidden = "),
        (lambda: TwoTowerConfig(1, 1, temperature=0.0), "temperature = 0.0: must be positive"),
        (lambda: TwoTowerConfig(1, 1, out=0), "out = 0: must be 1 or more"),
    ],
)
def test_sizes_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
