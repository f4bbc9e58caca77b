"""Whole interactions of a DHEN as units: left out, they are not run; and they come back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam
from torch.utils.flop_counter import FlopCounterMode

from stream_prune.artifact.export import export_head
from stream_prune.artifact.format import GRAPH
from stream_prune.errors import ConfigError
from stream_prune.models import DHENHead, DHENHeadConfig
from stream_prune.sparsity import ADS, Budget, SparsityController
from stream_prune.sparsity.allocate import allocate, least_share
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.prove import Proven, prove
from stream_prune.sparsity.worth import worth

DENSE, TABLES, DIM = 3, 4, 4
PARTS = ("dlrm", "attention", "convolution", "linear", "dcn")
ENSEMBLES = ("concat", "sum", "weighted_sum")


def head(ensemble: Any = "concat", layers: int = 2) -> DHENHead:
    torch.manual_seed(0)
    sizes = {"vectors": 3, "projected": 4, "hidden": 12, "heads": 2, "head_dim": 4, "channels": 4}
    config = DHENHeadConfig(
        DENSE, TABLES, DIM, (8,), (16,), layers=layers, interactions=PARTS, ensemble=ensemble,
        rank=6, **sizes,
    )  # fmt: skip
    return DHENHead(config)


def batch(rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return (
        torch.randn(rows, DENSE, generator=generator),
        torch.randn(rows, TABLES, DIM, generator=generator),
    )


@cache
def proven(ensemble: str = "concat") -> Proven:
    return prove(head(ensemble, 2 if ensemble == "concat" else 1), Example(batch(8)))


def without(*names: str) -> dict[str, tuple[int, ...]]:
    full = {group.name: tuple(range(group.units)) for group in proven().groups}
    return full | dict.fromkeys(names, ())


def learn(model: DHENHead, optimizer: Adam) -> Tensor:
    dense, emb = batch(32)
    label = (emb[:, 0] * emb[:, 1]).sum(1) > 0
    optimizer.zero_grad()
    loss = binary_cross_entropy_with_logits(model(dense, emb), label.float())
    loss.backward()
    optimizer.step()
    return loss


def multiplied(model: DHENHead) -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(*batch(4))
    return counter.get_total_flops() / 2 / 4


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_every_interaction_of_every_ensemble_is_proven_to_be_a_unit(ensemble: str) -> None:
    whole = {group.name for group in proven(ensemble).groups if group.whole}
    layers = range(2 if ensemble == "concat" else 1)
    assert whole == {f"layers.{n}.interactions.{i}" for n in layers for i in range(len(PARTS))}


@pytest.mark.parametrize("part", range(len(PARTS)))
def test_an_interaction_left_out_is_neither_run_nor_multiplied(part: int) -> None:
    model, name = head(), f"layers.1.interactions.{part}"
    live = LiveModel(model, Adam(model.parameters()), proven(), {})
    dense, full = live.cost(), multiplied(model)
    called: list[str] = []
    model.get_submodule(name).register_forward_hook(lambda *_: called.append(name))
    live.resize_units(without(name))
    assert live.plan.widths[name] == 0
    assert live.cost().macs_inference == multiplied(model)
    assert live.cost().macs_inference < dense.macs_inference == full
    assert not called


def test_absent_interactions_are_not_exported_and_scores_are_those_in_training(
    tmp_path: Path,
) -> None:
    model = head()
    live = LiveModel(model, Adam(model.parameters()), proven(), {})
    names = [f"layers.0.interactions.{part}" for part in (0, 1, 4)]
    names += [f"layers.1.interactions.{part}" for part in (2, 3)]
    live.resize_units(without(*names))
    model.eval()
    export_head(model, *batch(2), tmp_path)
    graph = onnx.load(tmp_path / GRAPH, load_external_data=False).graph
    held = [each.name for each in graph.initializer]
    assert not [key for key in held if key.startswith(tuple(f"{name}." for name in names))]
    session = onnxruntime.InferenceSession(tmp_path / GRAPH, providers=["CPUExecutionProvider"])
    inputs = {key: x.numpy() for key, x in zip(("dense", "emb"), batch(7), strict=True)}
    (served,) = session.run(None, inputs)
    with torch.no_grad():
        scores = model(*batch(7)).numpy()
    np.testing.assert_allclose(served, scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_layer_goes_on_as_if_absent_interactions_had_given_zeros(ensemble: str) -> None:
    model, silent = head(ensemble), head(ensemble)
    for name in ("layers.0.interactions.0", "layers.1.interactions.2"):
        model.get_submodule(name).present = 0
        part = silent.get_submodule(name)
        with torch.no_grad():
            for end in part.ends:
                part.get_parameter(end).zero_()
    torch.testing.assert_close(model(*batch(9)), silent(*batch(9)))
    for layer in model.layers:  # even where all are: what is left is the shortcut
        for part in layer.interactions:
            part.present = 0
    assert model(*batch(9)).isfinite().all()


def test_an_interaction_that_comes_back_is_the_one_that_left() -> None:
    model, name = head(), "layers.0.interactions.0"
    optimizer = Adam(model.parameters(), 0.01)
    learn(model, optimizer)
    live = LiveModel(model, optimizer, proven(), {}, rescaled=False)
    inner = [key for key, _ in model.named_parameters() if key.startswith(f"{name}.")]
    before = {key: model.get_parameter(key).detach().clone() for key in inner}
    moments = {key: optimizer.state[model.get_parameter(key)]["exp_avg"].clone() for key in inner}
    narrow = {f"{name}.deep.0": (3,), f"{name}.dots.projection": (1,)}
    live.resize_units(without(name) | narrow)
    for _ in range(3):
        learn(model, optimizer)
    live.resize_units(without())
    for key in inner:
        param = model.get_parameter(key)
        assert torch.equal(param, before[key]), key
        assert torch.equal(optimizer.state[param]["exp_avg"], moments[key]), key
    assert live.share == 1


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_plan_holds_its_share_and_keeps_an_interaction_in_every_layer(data: Any) -> None:
    cost = proven().cost
    budget = Budget(macs=1.0, min_units=2, round_to=2)
    share = data.draw(st.floats(least_share(cost, budget), 1.0))
    seed = data.draw(st.integers(0, 1000))
    generator = torch.Generator().manual_seed(seed)
    scores = {
        name: torch.rand(units, generator=generator, dtype=torch.float64) * 2
        for name, units in cost.units.items()
    }
    units = allocate(scores, cost, budget, share)
    widths = {name: len(kept) for name, kept in units.items()}
    assert cost.share(widths) <= share
    for layer in range(2):
        assert any(widths[f"layers.{layer}.interactions.{i}"] for i in range(len(PARTS)))
    # Growing keeps what is there, shrinking takes nothing up again.
    grown = allocate(scores, cost, budget, 1.0, held=units)
    assert all(set(units[name]) <= set(grown[name]) for name in units)
    shrunk = allocate(scores, cost, budget, share, eligible=units)
    assert not any(shrunk[name] and not units[name] for name in cost.whole)


def test_the_dear_interaction_that_says_little_goes_first() -> None:
    cost = proven().cost
    scores = {name: torch.ones(units).double() for name, units in cost.units.items()}
    for layer in range(2):  # attention takes many products, and linear few
        scores[f"layers.{layer}.interactions.1"] = torch.tensor([0.05]).double()
    units = allocate(scores, cost, Budget(macs=0.6, min_units=2, round_to=2), 0.6)
    assert [units[f"layers.{layer}.interactions.1"] for layer in range(2)] == [(), ()]
    assert [units[f"layers.{layer}.interactions.3"] for layer in range(2)] == [(0,), (0,)]
    kept = units | {"layers.0.interactions.3": ()}
    assert worth(scores, kept, cost) == pytest.approx(worth(scores, units, cost) - 1)


def test_the_controller_leaves_interactions_out_says_so_and_takes_them_back() -> None:
    model = head()
    optimizer = Adam(model.parameters(), 0.01)
    budget = Budget(macs=0.35, min_units=2, round_to=2)
    policy = ADS(warmup_rows=64, clock_rows=64, regrow_density=1.0, settle_windows=1)
    controller = SparsityController(
        model, optimizer, policy=policy, budget=budget, example=batch(16), window_rows=32
    )
    kinds = dict(_events(model, optimizer, controller))
    shrunk = kinds["shrink"].plan["units"]
    absent = [group.name for group in controller.groups if group.whole and not shrunk[group.name]]
    assert absent
    assert controller.summary()["groups"][absent[0]] == 1
    assert all(kinds["grow"].plan["units"][name] == 1 for name in absent)


def _events(
    model: DHENHead, optimizer: Adam, controller: SparsityController
) -> Iterator[tuple[str, Any]]:
    for _ in range(24):
        loss = learn(model, optimizer)
        for event in controller.step(loss=loss, rows=32):
            present = {g.name: model.get_submodule(g.name).present for g in controller.groups
                       if g.whole}  # fmt: skip
            assert all(event.plan["units"][name] == there for name, there in present.items())
            yield event.kind, event


def test_a_budget_that_not_even_the_least_interactions_fit_is_refused() -> None:
    model = head()
    with pytest.raises(ConfigError, match="the least share that can be reached"):
        SparsityController(
            model,
            Adam(model.parameters()),
            policy=ADS(warmup_rows=10),
            budget=Budget(macs=0.01),
            example=batch(4),
        )
