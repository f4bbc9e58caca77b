"""What holds of every head of a click model, whichever it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from stream_prune.artifact.export import export_head
from stream_prune.artifact.format import GRAPH
from stream_prune.sparsity import AMGP, Budget, SparsityController
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.prove import Proven, prove
from stream_prune.training.model_config import HEADS, ModelConfig

DENSE, TABLES, DIM = 5, 3, 4
OUTPUTS = "its units are outputs of the model"
STREAM = "a residual stream"


class Case(NamedTuple):
    """A model, the groups that it has to have, and what stays dense with a part of the reason."""

    model: ModelConfig
    groups: Mapping[str, int] = {}
    dense: Mapping[str, str] = {}


def model(name: str, top: tuple[int, ...] = (12, 6), **parameters: Any) -> ModelConfig:
    bottom = (10,) if name in ("dlrm", "dhen") else ()
    return ModelConfig(name, DIM, bottom, top, parameters)


SIZES = {
    "vectors": 2,
    "projected": 5,
    "hidden": 10,
    "heads": 3,
    "head_dim": 4,
    "channels": 6,
    "rank": 7,
}
ALL = ("dlrm", "attention", "convolution", "linear", "dcn")
DEEP = {"deep.0": 12, "deep.2": 6}
FIRST, NORM = "layers.0.interactions", "LayerNorm 'layers.0.norm' mixes its units"
CASES = {
    "dlrm": Case(
        model("dlrm"),
        {"bottom.0": 10, "top.0": 12, "top.2": 6},
        {"bottom.2": "without some of its units the model fails", "top.4": OUTPUTS},
    ),
    "dlrm projected": Case(
        model("dlrm", projected=5),
        {"bottom.0": 10, "dots.projection": 5, "top.0": 12, "top.2": 6},
        {"bottom.2": "without some of its units the model fails", "top.4": OUTPUTS},
    ),
    "dcn": Case(
        model("dcn", layers=2, rank=6),
        {"cross.0.mix.0": 6, "cross.1.mix.0": 6, **DEEP},
        {"cross.0.mix.1": STREAM, "cross.1.mix.1": STREAM, "out": OUTPUTS},
    ),
    "dcn parallel": Case(
        model("dcn", layers=2, rank=6, structure="parallel"),
        {"cross.0.mix.0": 6, "cross.1.mix.0": 6, **DEEP},
        {"cross.0.mix.1": STREAM, "cross.1.mix.1": STREAM, "out": OUTPUTS},
    ),
    "dcn of full matrices": Case(
        model("dcn", layers=2, rank=None),
        DEEP,
        {"cross.0.mix": STREAM, "cross.1.mix": STREAM, "out": OUTPUTS},
    ),
    "deepfm": Case(model("deepfm"), DEEP, {"deep.4": OUTPUTS}),
    "wide_deep": Case(model("wide_deep"), DEEP, {"deep.4": OUTPUTS}),
    "dhen": Case(
        model("dhen", (12,), layers=1, interactions=ALL, **SIZES),
        {
            "bottom.0": 10,
            f"{FIRST}.0.dots.projection": 5,
            f"{FIRST}.0.deep.0": 10,
            f"{FIRST}.1.query": 3,  # whole heads
            f"{FIRST}.1.deep.0": 10,
            f"{FIRST}.2.filters": 6,
            f"{FIRST}.4.cross.mix.0": 7,
            **{f"{FIRST}.{n}": 1 for n in range(5)},  # whole interactions
            "top.0": 12,
        },
        {
            "bottom.2": "LayerNorm 'layers.0.interactions.1.attended' mixes its units",
            f"{FIRST}.0.deep.2": NORM,
            f"{FIRST}.1.join": "LayerNorm 'layers.0.interactions.1.attended' mixes its units",
            f"{FIRST}.1.deep.2": "LayerNorm 'layers.0.interactions.1.fed' mixes its units",
            f"{FIRST}.1.mix.linear": NORM,
            f"{FIRST}.2.mix.linear": NORM,
            f"{FIRST}.3.linear": NORM,
            f"{FIRST}.4.cross.mix.1": "could not be located",  # entries of the stream
            f"{FIRST}.4.mix.linear": NORM,
            "layers.0.shortcut.linear": NORM,
            "top.2": OUTPUTS,
        },
    ),
    "dhen that sums": Case(
        model("dhen", (), layers=2, interactions=("linear", "dlrm"), ensemble="sum", **SIZES),
    ),
    "dhen that weighs": Case(
        model(
            "dhen",
            (),
            layers=2,
            interactions=("convolution", "dlrm"),
            ensemble="weighted_sum",
            **SIZES,
        ),
        {
            "bottom.0": 10,
            **{f"layers.{n}.interactions.0.filters": 6 for n in range(2)},
            **{f"layers.{n}.interactions.1.dots.projection": 5 for n in range(2)},
            **{f"layers.{n}.interactions.1.deep.0": 10 for n in range(2)},
            **{f"layers.{n}.interactions.{i}": 1 for n in range(2) for i in range(2)},
        },
        {
            "bottom.2": "filters.weight' could not be located",  # one channel of an image
            **{f"layers.{n}.interactions.0.mix.linear": "LayerNorm" for n in range(2)},
            **{f"layers.{n}.interactions.1.deep.2": "LayerNorm" for n in range(2)},
            "layers.0.shortcut.linear": "LayerNorm",
            "top.0": OUTPUTS,
        },
    ),
}
GROUPED = [name for name, case in CASES.items() if case.groups]
FEATURES = [(DENSE, TABLES), (0, TABLES), (DENSE, 0), (1, 1)]  # N, F


def build(name: str, dense: int = DENSE, tables: int = TABLES) -> Any:
    torch.manual_seed(0)
    return CASES[name].model.build_head(dense, tables)


def batch(rows: int, dense: int = DENSE, tables: int = TABLES) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, dense), torch.randn(rows, tables, DIM)


@cache
def proven(name: str) -> Proven:
    return prove(build(name), Example(batch(8)))


def test_every_model_that_a_run_can_have_is_held_to_the_contract() -> None:
    assert {case.model.name for case in CASES.values()} == HEADS.keys()


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("name", CASES)
def test_a_row_has_one_logit_which_hangs_on_that_row_alone(
    name: str, features: tuple[int, int]
) -> None:
    head = build(name, *features)
    dense, emb = batch(6, *features)
    assert head(dense, emb).shape == (6,)
    head.eval()
    logits = head(dense, emb)
    assert logits.isfinite().all()
    assert logits.unique().numel() == 6
    alone = torch.cat([head(dense[i : i + 1], emb[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("features", [(DENSE, TABLES), (0, TABLES)])
@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_every_parameter_and_every_row(
    name: str, features: tuple[int, int]
) -> None:
    head, (dense, emb) = build(name, *features), batch(64, *features)
    emb.requires_grad_()
    head(dense, emb).sigmoid().square().sum().backward()
    for key, param in head.named_parameters():
        assert param.grad is not None, key
        # More than what rounding leaves of a gradient that is zero.
        assert param.grad.abs().max() > 1e-6, key
    assert emb.grad is not None
    assert (emb.grad.abs().amax((0, 2)) > 0).all()


@pytest.mark.parametrize("name", CASES)
def test_a_saved_head_scores_as_before(name: str) -> None:
    head, inputs = build(name), batch(9)
    head(*inputs)  # the running statistics are part of it
    config = json.loads(json.dumps(asdict(head.config)))
    widths = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}
    again: nn.Module = type(head)(type(head.config)(**widths))
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.eval()(*inputs), head.eval()(*inputs))


@pytest.mark.parametrize("name", CASES)
def test_a_step_in_bfloat16_is_near_one_in_float32(name: str) -> None:
    head, (dense, emb) = build(name), batch(64)
    emb.requires_grad_()
    results = []
    for mixed in (False, True):
        head.zero_grad()
        emb.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = head(dense, emb)
        logits.float().sigmoid().sum().backward()
        gradients = [emb.grad, *(param.grad for param in head.parameters())]
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        results.append((logits.float(), torch.cat([g.flatten() for g in gradients])))
    for found, wanted in zip(*reversed(results), strict=True):
        assert (found - wanted).norm() < 0.03 * wanted.norm()


@pytest.mark.parametrize("name", GROUPED)
def test_groups_are_proven_and_what_stays_dense_says_why(name: str) -> None:
    found, case = proven(name), CASES[name]
    assert {group.name: group.units for group in found.groups} == case.groups
    assert all(group.exact for group in found.groups)
    assert found.refused.keys() == case.dense.keys()
    for layer, reason in case.dense.items():
        assert reason in found.refused[layer], layer


@pytest.mark.parametrize("name", ["dlrm projected", "dcn", "deepfm", "wide_deep", "dhen"])
def test_a_head_is_narrowed_exported_and_grown_while_it_learns(name: str, tmp_path: Path) -> None:
    head, inputs = build(name), batch(16)
    optimizer = Adam(head.parameters(), 0.01)
    full = {key: param.shape for key, param in head.named_parameters()}
    least = proven(name).cost.share({group.name: 1 for group in proven(name).groups})
    with mock.patch("stream_prune.sparsity.controller.prove", return_value=proven(name)):
        controller = SparsityController(
            head,
            optimizer,
            policy=AMGP(total_rows=96, warmup_rows=32, cycles=1),
            budget=Budget(macs=0.5 * (1 + least), min_units=1, round_to=1),
            example=inputs,
            window_rows=16,
        )
    kinds, steps = [], 0
    while not kinds:
        kinds += _learn(head, optimizer, controller, inputs)
        steps += 1
    assert kinds == ["shrink"]
    assert controller.cost().macs_inference < controller.dense_cost.macs_inference
    assert sum(p.numel() for p in head.parameters()) < sum(s.numel() for s in full.values())
    _assert_same_scores_in_onnx(head, tmp_path)
    for _ in range(6 - steps):
        kinds += _learn(head, optimizer, controller, inputs)
    assert kinds == ["shrink", "grow"]
    assert {key: param.shape for key, param in head.named_parameters()} == full


@pytest.mark.parametrize("name", ["deepfm", "dhen that sums"])
def test_a_head_without_dense_features_scores_the_same_in_onnx(name: str, tmp_path: Path) -> None:
    _assert_same_scores_in_onnx(build(name, 0), tmp_path, dense=0)


def _learn(
    head: nn.Module, optimizer: Adam, controller: SparsityController, inputs: tuple[Tensor, ...]
) -> list[str]:
    head.train()
    optimizer.zero_grad()
    loss = head(*inputs).square().mean()
    loss.backward()
    optimizer.step()
    events = controller.step(loss=loss, rows=16)
    return [event.kind for event in events]


def _assert_same_scores_in_onnx(head: nn.Module, folder: Path, dense: int = DENSE) -> None:
    head.eval()
    export_head(head, *batch(2, dense), folder)
    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    for rows in (1, 7):
        inputs = dict(zip(("dense", "emb"), batch(rows, dense), strict=True))
        known = [given.name for given in session.get_inputs()]
        (logits,) = session.run(None, {name: inputs[name].numpy() for name in known})
        with torch.no_grad():
            wanted = head(*inputs.values()).numpy()
        np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-5)
