"""Running statistics behind layers whose weights are rescaled."""

import copy

import pytest
import torch
from plugin_models import build, proven
from torch import nn
from torch.nn.functional import mse_loss

from stream_prune.sparsity.example import Example
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.prove import prove
from stream_prune.sparsity.statistics import normalised


def trained() -> tuple[nn.Module, LiveModel]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Linear(16, 1),
    )  # fmt: skip
    model = model.double()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(200):
        x = torch.randn(64, 6, dtype=torch.float64)
        optimizer.zero_grad()
        mse_loss(model(x)[:, 0], x[:, 0] * x[:, 1]).backward()
        optimizer.step()
    groups = prove(model, Example((torch.randn(8, 6),)))
    return model, LiveModel(model, optimizer, groups, {})


def half(live: LiveModel) -> Plan:
    units = dict(live.full.units)
    return Plan(units | {"0": units["0"][:32]})


def test_removing_units_that_nothing_reads_changes_no_output_in_front_of_a_batch_norm() -> None:
    model, live = trained()
    model[3].eps = 0.0
    with torch.no_grad():
        model[2].weight[:, 32:] = 0
    x = torch.randn(32, 6, dtype=torch.float64)
    before = model.eval()(x).detach()
    live.resize_units(half(live).units)
    assert model[2].weight.shape == (16, 32)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-10)


def test_after_a_shrink_evaluation_is_nearer_to_training_than_with_the_old_statistics() -> None:
    model, live = trained()
    with torch.no_grad():
        model[2].weight[:, 32:] *= 0.2  # a criterion removes what does little
        for _ in range(100):
            model(torch.randn(64, 6, dtype=torch.float64))
    old = copy.deepcopy(model[3])
    live.resize_units(half(live).units)
    x = torch.randn(4096, 6, dtype=torch.float64)
    with torch.no_grad():
        given = model[2](torch.tanh(model[0](x)))
        spread = given.var(dim=0)
    now, then = model[3].running_var / spread, old.running_var / spread
    assert now.log().abs().mean() < then.log().abs().mean()


def test_restoring_the_units_restores_the_statistics() -> None:
    model, live = trained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    units = dict(live.full.units)
    live.resize_units(units | {"0": units["0"][::3], "2": units["2"][::2]})
    assert model[3].running_mean.shape == (8,)
    live.resize_units(units)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rescaled", [True, False])
def test_without_rescaling_statistics_are_left_alone(rescaled: bool) -> None:
    model, live = trained()
    live.rescaled = rescaled
    before = model[3].running_var.clone()
    live.resize_units(half(live).units)
    assert torch.equal(model[3].running_var, before) != rescaled


def test_only_a_norm_right_behind_a_layer_is_found() -> None:
    model, batch = build("conv")
    inputs = batch(2)
    assert normalised(model, lambda: model(*inputs)) == {"conv1": "norm1", "conv2": "norm2"}
    assert proven("conv").behind == {"conv1": "norm1", "conv2": "norm2"}
    apart = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4))
    assert normalised(apart, lambda: apart(torch.randn(5, 3))) == {}
