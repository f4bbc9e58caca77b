"""Training recommenders of implicit feedback: what they learn from, and which epoch is reported."""

import numpy as np
import pytest
import torch
from torch import nn

from stream_prune.errors import ConfigError, RunError
from stream_prune.evaluation.ranking import rank
from stream_prune.interactions import InteractionLog, Interactions
from stream_prune.models.lightgcn import LightGCN, LightGCNConfig
from stream_prune.models.multvae import MultVAE, MultVAEConfig
from stream_prune.models.neumf import NeuMF, NeuMFConfig
from stream_prune.models.two_tower import TwoTower, TwoTowerConfig
from stream_prune.sparsity import (
    DSL,
    Budget,
    DSLUnits,
    ElementController,
    SparsityController,
    Static,
)
from stream_prune.training.fit_ranking import FitConfig, fit
from stream_prune.training.implicit_batches import (
    InBatch,
    NegativeSampler,
    Pairwise,
    Pointwise,
    WholeUsers,
)
from stream_prune.training.interaction_split import split

USERS, ITEMS = 60, 40


@pytest.fixture(scope="module")
def parts():
    """Four tastes: users take items of their own quarter, and a few others."""
    rng = np.random.default_rng(0)
    wanted = np.arange(USERS)[:, None] % 4 == np.arange(ITEMS) % 4
    user, item = np.nonzero(rng.random((USERS, ITEMS)) < np.where(wanted, 0.85, 0.03))
    return split(InteractionLog(user, item, np.zeros_like(user), USERS, ITEMS), test=0.2)


def neumf(train):
    return NeuMF(NeuMFConfig(USERS, ITEMS, dim=8, hidden=(32, 16))), Pointwise(train, 64)


def lightgcn(train):
    pairs = torch.from_numpy(train.users), torch.from_numpy(train.items)
    return LightGCN(LightGCNConfig(USERS, ITEMS, dim=16), *pairs), Pairwise(train, 64)


def multvae(train):
    model = MultVAE(MultVAEConfig(ITEMS, hidden=(32,), latent=8))
    return model, WholeUsers(train, 10, kl_steps=100)


def two_tower(train):
    model = TwoTower(TwoTowerConfig(USERS, ITEMS, dim=16, hidden=(32,), out=16))
    return model, InBatch(train, 64)


def started(make, parts, rate=0.01):
    torch.manual_seed(0)
    model, batches = make(parts.train)
    return model, torch.optim.Adam(model.parameters(), lr=rate), batches


def example(model):
    if isinstance(model, MultVAE):
        return torch.rand(4, ITEMS)
    return torch.arange(4), torch.arange(4)


MODELS = pytest.mark.parametrize("make", [neumf, lightgcn, multvae, two_tower])


@MODELS
def test_each_model_learns_what_users_want(make, parts):
    fitted = fit(*started(make, parts), parts, FitConfig(epochs=12, k=5))
    # A quarter of the items is wanted: at random 1 in 4 of the ranks would hold one at best.
    assert fitted.test.recall > 0.8
    assert fitted.losses[-1] < fitted.losses[0]
    assert fitted.epoch == max(fitted.history, key=lambda look: look[1])[0]


@MODELS
def test_dsl_keeps_the_chosen_model_sparse(make, parts):
    model, optimizer, batches = started(make, parts, rate=0.03)
    controller = ElementController(
        model,
        optimizer,
        policy=DSL(anneal_steps=100, every=10),
        density=0.3,
        example=example(model),
    )
    long = FitConfig(epochs=24, evaluate_every=6, k=5)
    fitted = fit(model, optimizer, batches, parts, long, controller)
    masked = controller.summary()["weights"]
    kept = sum(int(fitted.model.get_parameter(name).count_nonzero()) for name in masked)
    assert kept <= 0.3 * sum(masked.values())
    assert controller.summary()["rewirings"] > 0
    assert fitted.test.recall > 0.4  # at random 0.15


@pytest.mark.parametrize("make", [neumf, multvae])
def test_hidden_units_are_removed_and_the_small_model_still_recommends(make, parts):
    model, optimizer, batches = started(make, parts)
    controller = SparsityController(
        model,
        optimizer,
        policy=DSLUnits(anneal_rows=2000, every_rows=200),
        budget=Budget(macs=0.5),
        example=example(model),
        window_rows=40,
    )
    long = FitConfig(epochs=24, evaluate_every=6, k=5)
    fitted = fit(model, optimizer, batches, parts, long, controller)
    sizes = [sum(p.numel() for p in each.parameters()) for each in (make(parts.train)[0], model)]
    assert controller.cost().macs_inference <= 0.5 * controller.dense_cost.macs_inference
    assert sizes[1] < sizes[0]
    assert sum(p.numel() for p in fitted.model.parameters()) == sizes[1]
    assert fitted.test.recall > 0.4  # at random 0.15


def test_latents_of_an_autoencoder_are_no_units(parts):
    model, optimizer, _ = started(multvae, parts)
    controller = SparsityController(
        model, optimizer, policy=Static(), budget=Budget(macs=0.5), example=example(model)
    )
    assert {group.name for group in controller.groups} == {"encoder.0", "decoder.0"}
    assert "outputs of the model" in controller.refused["encoder.2"]


def test_epochs_before_the_budget_is_held_do_not_count(parts):
    def run(epochs):
        model, optimizer, batches = started(multvae, parts)
        controller = SparsityController(
            model,
            optimizer,
            policy=Static(warmup_rows=180),  # three epochs of 60 users
            budget=Budget(macs=0.5),
            example=example(model),
            window_rows=60,
        )
        return fit(model, optimizer, batches, parts, FitConfig(epochs=epochs, k=5), controller)

    assert run(4).history[0][0] == 3
    with pytest.raises(RunError, match="no epoch ended within the controller's budget"):
        run(2)


def test_the_reported_epoch_is_the_one_that_validation_prefers(parts):
    model, optimizer, batches = started(neumf, parts)
    watched = []
    fitted = fit(
        model, optimizer, batches, parts, FitConfig(epochs=7, evaluate_every=3, k=5), None,
        lambda epoch, loss: watched.append((epoch, loss)),
    )  # fmt: skip
    assert [epoch for epoch, _ in fitted.history] == [3, 6, 7]
    assert watched == list(enumerate(fitted.losses, 1))
    again = rank(
        lambda users: fitted.model.scores(torch.from_numpy(users)), parts.test, parts.known, k=5
    )
    assert again.ndcg == pytest.approx(fitted.test.ndcg)


def test_the_test_part_decides_nothing(parts):
    """The same run with another test part learns and chooses the same."""
    rest = Interactions.of(parts.test.users[::2], parts.test.items[::2], users=USERS, items=ITEMS)
    found = []
    for test in (parts.test, rest):
        here = type(parts)(parts.train, parts.validation, test)
        found.append(fit(*started(lightgcn, here), here, FitConfig(epochs=4, k=5)))
    assert found[0].history == found[1].history
    assert found[0].losses == found[1].losses
    assert len(found[0].test.users) >= len(found[1].test.users)
    for one, other in zip(*(each.model.parameters() for each in found), strict=True):
        assert torch.equal(one, other)


def test_a_run_follows_from_its_seed(parts):
    seeds = [
        fit(*started(multvae, parts), parts, FitConfig(epochs=2, k=5, seed=seed)).losses
        for seed in (1, 1, 2)
    ]
    assert seeds[0] == seeds[1] != seeds[2]


def test_negatives_are_all_items_without_a_training_pair_equally_often(parts):
    sample = NegativeSampler(parts.train)
    users = np.repeat(np.arange(USERS), 2000)
    drawn = np.zeros((USERS, ITEMS))
    np.add.at(drawn, (users, sample(users, np.random.default_rng(0))), 1)
    trained = np.zeros((USERS, ITEMS), bool)
    trained[parts.train.users, parts.train.items] = True
    assert not drawn[trained].any()
    # What validation and test hold is drawn like the rest.
    expected = (2000 / (~trained).sum(1))[:, None] * ~trained
    spread = np.sqrt(np.maximum(expected, 1))
    assert (np.abs(drawn - expected) < 6 * spread).all()


def test_a_user_with_every_item_has_no_negative():
    full = Interactions.of(np.zeros(3, int), np.arange(3), users=2, items=3)
    with pytest.raises(ConfigError, match="user 0 has every item"):
        NegativeSampler(full)


@pytest.mark.parametrize("make", [neumf, lightgcn, two_tower])
def test_an_epoch_has_every_training_pair_once(make, parts):
    _, batches = make(parts.train)
    pairs = []
    for users, items, rest in batches.epoch(0, np.random.default_rng(0)):
        if make is neumf:  # labels: the negatives come last, four for each pair
            positive = rest == 1
            assert int((~positive).sum()) == 4 * int(positive.sum())
            users, items = users[positive], items[positive]
        pairs.append((users * ITEMS + items).numpy())
    assert sorted(np.concatenate(pairs).tolist()) == parts.train.keys.tolist()


def test_an_epoch_of_whole_users_has_all_their_items_and_a_rising_weight(parts):
    _, batches = multvae(parts.train)
    seen = [list(batches.epoch(number, np.random.default_rng(0))) for number in range(8)]
    rows = torch.cat([rows for rows, _ in seen[0]])
    assert int(rows.sum()) == len(parts.train)
    weights = [weight for epoch in seen for _, weight in epoch]
    assert weights == [min(0.2, step / 100) for step in range(len(weights))]


def test_a_loss_that_is_not_finite_stops_the_run(parts):
    model, optimizer, batches = started(neumf, parts)
    nn.init.constant_(model.output.bias, float("nan"))
    with pytest.raises(RunError, match="the loss of epoch 1 is nan; lower the learning rate"):
        fit(model, optimizer, batches, parts, FitConfig(epochs=1, k=5))


def test_what_does_not_belong_together_is_refused(parts):
    model, optimizer, _ = started(neumf, parts)
    with pytest.raises(ConfigError, match="other pairs than the split's training part"):
        fit(model, optimizer, Pointwise(parts.known, 8), parts, FitConfig(epochs=1))
    for make, message in (
        (lambda: FitConfig(epochs=0), "fit.epochs = 0: must be at least 1"),
        (lambda: Pairwise(parts.train, 0), "batch = 0: must be at least 1"),
        (lambda: WholeUsers(parts.train, 1, kl_cap=-1.0), "kl_cap = -1.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
