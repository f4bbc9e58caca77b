import copy

import pytest
import torch
from torch import nn

from stream_prune.errors import RunError
from stream_prune.training.checkpoint import read_states, write_states
from stream_prune.training.torch_state import ModuleState, OptimizerState, RandomState

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "fused adam": lambda p: torch.optim.Adam(p, lr=0.05, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "fused adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, fused=True),
}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 3, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_bit_for_bit(tmp_path, name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer, 3)
    parts = {"model": ModuleState(model), "optimizer": OptimizerState(optimizer)}
    write_states(tmp_path, 3, {key: part.state_dict() for key, part in parts.items()})

    other = copy.deepcopy(model)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    resumed = OPTIMIZERS[name](other.parameters())
    states = read_states(tmp_path)
    ModuleState(other).load_state_dict(states["model"])
    OptimizerState(resumed).load_state_dict(states["optimizer"])
    train(model, optimizer, 3)
    train(other, resumed, 3)
    for left, right in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_checkpoint_of_another_model_is_refused():
    with pytest.raises(RunError, match=r"does not fit the model[\s\S]*size mismatch"):
        ModuleState(nn.Linear(3, 2)).load_state_dict(nn.Linear(3, 4).state_dict())


def test_random_numbers_go_on_where_they_were():
    part = RandomState(torch.device("cpu"))
    torch.manual_seed(3)
    torch.rand(5)
    state = part.state_dict()
    expected = torch.rand(7)
    torch.manual_seed(9)
    part.load_state_dict(state)
    assert torch.equal(torch.rand(7), expected)
