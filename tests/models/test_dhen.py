"""DHEN's layers and interactions, held to their formulas written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stream_prune.models import DCNHeadConfig, DHENHead, DHENHeadConfig, FirstOrderHeadConfig
from stream_prune.models.dhen import DHENLayer
from stream_prune.models.interactions import Convolution, CrossInteraction, DotInteraction

ROWS, VECTORS, DIM, OUTPUTS = 7, 5, 4, 3


def config(**changes: Any) -> DHENHeadConfig:
    values: dict[str, Any] = {"dense": 2, "tables": 4, "dim": DIM, "bottom": (), "top": ()}
    return DHENHeadConfig(**(values | {"vectors": OUTPUTS} | changes))


def vectors() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(ROWS, VECTORS, DIM)


@torch.no_grad()
@pytest.mark.parametrize("interactions", [("linear",), ("linear", "linear", "linear")])
@pytest.mark.parametrize("ensemble", ["concat", "sum", "weighted_sum"])
def test_a_layer_normalises_its_ensemble_and_the_shortcut(
    ensemble: Any, interactions: tuple[str, ...]
) -> None:
    x = vectors()
    layer = DHENLayer(config(ensemble=ensemble, interactions=interactions), VECTORS)
    parts = [torch.einsum("lm,bmd->bld", each.linear.weight, x) for each in layer.interactions]
    if ensemble == "concat":
        joined = torch.cat(parts, 1)
    else:
        weights = torch.ones(len(parts))
        if ensemble == "weighted_sum":
            layer.weights.copy_(weights := torch.randn(len(parts)))
        joined = sum(w * part for w, part in zip(weights, parts, strict=True))
    shortcut = torch.einsum("lm,bmd->bld", layer.shortcut.linear.weight, x)
    total = joined + shortcut
    scale = (total.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    wanted = (total - total.mean(2, keepdim=True)) / scale
    assert layer(x).shape == (ROWS, layer.outputs, DIM)
    torch.testing.assert_close(layer(x), wanted)


@torch.no_grad()
def test_where_the_number_of_vectors_stays_the_shortcut_is_the_input_itself() -> None:
    x = vectors()
    layer = DHENLayer(config(ensemble="sum", interactions=("linear",), vectors=VECTORS), VECTORS)
    layer.interactions[0].linear.weight.zero_()
    torch.testing.assert_close(layer(x), F.layer_norm(x, (DIM,)))


@torch.no_grad()
def test_interactions_are_their_formulas() -> None:
    x = vectors()
    dots = DotInteraction(VECTORS, DIM, OUTPUTS, projected=2, hidden=6)
    mixtures = torch.einsum("km,bmd->bkd", dots.dots.projection.weight, x)
    products = torch.einsum("bmd,bkd->bmk", x, mixtures).reshape(ROWS, -1)
    wanted = dots.deep(products).reshape(ROWS, OUTPUTS, DIM)
    torch.testing.assert_close(dots(x), wanted)

    cross = CrossInteraction(VECTORS, DIM, OUTPUTS, rank=2)
    down, up = cross.cross.mix
    flat = x.reshape(ROWS, -1)
    crossed = flat * (flat @ (up.weight @ down.weight).T + up.bias) + flat
    crossed = crossed.reshape(ROWS, VECTORS, DIM)
    wanted = torch.einsum("lm,bmd->bld", cross.mix.linear.weight, crossed)
    torch.testing.assert_close(cross(x), wanted)

    convolution = Convolution(VECTORS, OUTPUTS, channels=2)
    weight, bias = convolution.filters.weight[:, 0], convolution.filters.bias
    padded = F.pad(x, (1, 1, 1, 1))
    windows = padded.unfold(1, 3, 1).unfold(2, 3, 1)  # [B, m, D, 3, 3]
    image = torch.einsum("cij,bmdij->bcmd", weight, windows) + bias[:, None, None]
    mix = convolution.mix.linear.weight.view(OUTPUTS, 2, VECTORS)
    wanted = torch.einsum("lcm,bcmd->bld", mix, image.relu())
    torch.testing.assert_close(convolution(x), wanted)


def test_a_head_learns_an_interaction_of_two_ids() -> None:
    torch.manual_seed(0)
    head = DHENHead(config(dense=0, tables=2, interactions=("dlrm", "linear"), layers=2))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(300):
        emb = torch.randn(128, 2, DIM)
        label = ((emb[:, 0] * emb[:, 1]).sum(1) > 0).float()
        loss = F.binary_cross_entropy_with_logits(head(torch.zeros(128, 0), emb), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.35


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        (DHENHeadConfig, {"interactions": ()}, "interactions = "),
        (DHENHeadConfig, {"interactions": ("fm",)}, "must be one or more of dlrm, attention"),
        (DHENHeadConfig, {"ensemble": "mean"}, "ensemble = 'mean'"),
        (DHENHeadConfig, {"heads": 0}, "heads = 0"),
        (DCNHeadConfig, {"layers": 0}, "layers = 0"),
        (DCNHeadConfig, {"structure": "both"}, "structure = 'both'"),
        (DCNHeadConfig, {"structure": "parallel", "top": ()}, "needs a hidden layer"),
        (FirstOrderHeadConfig, {"dim": 1}, "dim = 1: must be 2 or more"),
    ],
)
def test_settings_out_of_range_are_refused(kind: Any, sizes: dict[str, Any], message: str) -> None:
    values = {"dense": 1, "tables": 1, "dim": 2, "top": (4,)}
    values |= {"bottom": ()} if kind is DHENHeadConfig else {}
    with pytest.raises(ValueError, match=message):
        kind(**(values | sizes))
