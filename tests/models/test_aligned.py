"""Products of odd width are padded in training, and nobody notices but the clock."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stream_prune.models import DLRMHead, DLRMHeadConfig
from stream_prune.models.aligned import AlignedLinear, padding


def gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(layer(x).square().sum(), (x, *layer.parameters()))


@pytest.mark.parametrize("width", [1, 13, 16, 367])
def test_outputs_and_gradients_are_those_of_a_plain_layer(width: int) -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(width, 5), torch.randn(7, width)
    torch.manual_seed(0)
    aligned = AlignedLinear(width, 5)
    for mine, theirs in zip(aligned.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    torch.testing.assert_close(aligned(x), plain(x))
    for mine, theirs in zip(gradients(aligned, x), gradients(plain, x), strict=True):
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs)


def test_zero_columns_that_are_there_already_are_not_added_again() -> None:
    layer, x = AlignedLinear(13, 5), torch.randn(7, 13)
    padded = F.pad(x, (0, padding(13)))
    assert padded.shape == (7, 16)
    assert torch.equal(layer(padded), layer(x))


def test_a_narrowed_layer_is_padded_at_its_own_width() -> None:
    layer = AlignedLinear(20, 5)
    with torch.no_grad():
        layer.weight = nn.Parameter(layer.weight[:, :9].clone())
    layer.in_features = 9
    x = torch.randn(7, 9)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_a_head_multiplies_whole_cache_lines_in_training_and_its_own_width_otherwise() -> None:
    head = DLRMHead(DLRMHeadConfig(3, 5, 4, (8,), (12,)))
    seen: list[int] = []
    head.top[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    inputs = torch.randn(6, 3), torch.randn(6, 5, 4)
    head(*inputs)
    trained = head.eval()(*inputs)
    with torch.no_grad():
        scored = head(*inputs)
    own = head.top[0].in_features
    assert own == 4 + 15
    assert seen == [32, own, own]
    torch.testing.assert_close(scored, trained)
