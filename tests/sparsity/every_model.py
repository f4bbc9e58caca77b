"""Every model that the plugin's properties are tested on: list one here, and it is tested."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from unittest import mock

import recommender_models as users
import torch
from foreign_models import FOREIGN, random_table
from plugin_models import MODELS, OPTIMIZERS
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.models import (
    DCNHead,
    DCNHeadConfig,
    DeepFMHead,
    DHENHead,
    DHENHeadConfig,
    DLRMHead,
    DLRMHeadConfig,
    FirstOrderHeadConfig,
    WideDeepHead,
)
from stream_prune.sparsity.controller import SparsityController
from stream_prune.sparsity.example import Example, flatten
from stream_prune.sparsity.prove import Proven, prove

Builder = Callable[[], nn.Module]
Batch = Callable[[int], tuple[Any, ...]]


def _normal(*shapes: tuple[int, ...]) -> Batch:
    return lambda rows: tuple(torch.randn(rows, *shape) for shape in shapes)


def _ids(rows: int) -> tuple[Tensor, ...]:
    return torch.randint(0, 20, (rows, 3)), torch.randn(rows, 2)


def _dlrm(dense: int) -> Builder:
    return lambda: DLRMHead(DLRMHeadConfig(dense, 3, dim=4, bottom=(12,), top=(16, 8)))


def _dcn() -> nn.Module:
    return DCNHead(DCNHeadConfig(5, 3, dim=4, top=(12,), layers=2, rank=6))


def _deepfm() -> nn.Module:
    return DeepFMHead(FirstOrderHeadConfig(5, 3, dim=4, top=(16, 8)))


def _wide_deep() -> nn.Module:
    return WideDeepHead(FirstOrderHeadConfig(5, 3, dim=4, top=(16, 8)))


def _dhen() -> nn.Module:
    return DHENHead(
        DHENHeadConfig(
            5,
            3,
            dim=4,
            bottom=(8,),
            top=(12,),
            layers=1,
            interactions=("dlrm", "attention", "convolution", "linear", "dcn"),
            vectors=2,
            projected=5,
            hidden=10,
            heads=3,
            head_dim=4,
            channels=6,
            rank=7,
        )
    )


LIBRARY: Mapping[str, tuple[Builder, Batch]] = {
    "DLRMHead": (_dlrm(5), _normal((5,), (3, 4))),
    "DLRMHead without dense features": (_dlrm(0), _normal((0,), (3, 4))),
    "DCNHead": (_dcn, _normal((5,), (3, 4))),
    "DeepFMHead": (_deepfm, _normal((5,), (3, 4))),
    "WideDeepHead": (_wide_deep, _normal((5,), (3, 4))),
    "DHENHead": (_dhen, _normal((5,), (3, 4))),
}

RECOMMENDERS: Mapping[str, tuple[Builder, Batch]] = {
    "packed attention": (
        lambda: users.FieldAttention(users.PackedAttention()),
        _normal((5, 8)),
    ),
    "attention with named sizes": (
        lambda: users.FieldAttention(users.NamedSizesAttention()),
        _normal((5, 8)),
    ),
    "torch's attention": (
        lambda: users.FieldAttention(nn.MultiheadAttention(8, 4, batch_first=True)),
        _normal((5, 8)),
    ),
    "torch's encoder layer": (users.BehaviourTransformer, _normal((3, 8), (8,))),
    "interest network": (users.InterestNetwork, _normal((3, 4), (4,))),
    "channel gates": (users.ChannelGates, _normal((3, 6))),
    "recurrent": (users.Recurrent, _normal((5, 4))),
    "two towers": (users.TwoTowers, _normal((6,), (4,))),
    "multi-task": (users.MultiTask, _normal((6,))),
    "machine and deep": (users.MachineAndDeep, _ids),
    "low-rank cross": (users.LowRankCross, _normal((10,))),
    "shared encoder": (users.SharedEncoder, _normal((5,), (5,))),
}


def _foreign(name: str) -> tuple[Builder, Batch]:
    build, inputs = FOREIGN[name]
    return build, lambda rows: inputs(random_table(rows), slice(None))


EVERY: Mapping[str, tuple[Builder, Batch]] = {
    **MODELS,
    **LIBRARY,
    **RECOMMENDERS,
    **{name: _foreign(name) for name in FOREIGN},
}

WITH_OPTIMIZERS = [
    (name, optimizer)
    for number, name in enumerate(EVERY)
    for turn, optimizer in enumerate(OPTIMIZERS)
    if name not in FOREIGN or turn % 3 == number % 3  # the large ones with two each
]
"""Models with the optimizers that they are trained with."""


def build(name: str, rows: int, *, double: bool = False) -> tuple[nn.Module, tuple[Any, ...]]:
    """One of the models with fixed weights, and a batch for it."""
    torch.manual_seed(0)
    make, batch = EVERY[name]
    model, inputs = make(), batch(rows)
    return (model.double(), _double(inputs)) if double else (model, inputs)


@cache
def proven(name: str) -> Proven:
    """The groups of one of the models; they do not depend on its weights."""
    model, inputs = build(name, 8)
    return prove(model, Example(inputs))


@cache
def _trained(name: str, optimizer: str) -> tuple[nn.Module, Optimizer, tuple[Any, ...]]:
    model, inputs = build(name, 8, double=True)
    bound = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(3):
        learn(model, bound, inputs)
    return model, bound, inputs


def trained(name: str, optimizer: str) -> tuple[nn.Module, Optimizer, tuple[Any, ...]]:
    """A model of the test's own after three steps, in double precision."""
    model, bound, inputs = _trained(name, optimizer)
    return *copy.deepcopy((model, bound)), inputs


def learn(model: nn.Module, optimizer: Optimizer, inputs: tuple[Any, ...]) -> None:
    """One step, with the gradients left in place."""
    optimizer.zero_grad()
    sum((part - 1.0).square().mean() for part in flatten(model(*inputs))).backward()
    optimizer.step()


def control(
    name: str, model: nn.Module, optimizer: Optimizer, inputs: tuple[Any, ...], **settings: Any
) -> SparsityController:
    """A controller of one of the models, whose groups are not proven anew each time."""
    found = proven(name)
    with mock.patch("stream_prune.sparsity.controller.prove", return_value=found):
        return SparsityController(model, optimizer, example=inputs, **settings)


def _double(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.double() if values.is_floating_point() else values
    if isinstance(values, dict):
        return {key: _double(value) for key, value in values.items()}
    return tuple(_double(value) for value in values)
