"""Copies of the model that are resized with it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from plugin_models import MODELS, build, proven
from test_controller import FAST, SmallDLRM, Stream, make, run
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity import ADS
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.plan import Plan

CYCLE = ADS(
    warmup_rows=400,
    shrink_steps=1,
    settle_windows=1,
    regrow_density=1.0,
    regrow_windows=2,
    regrow_steps=1,
    clock_rows=800,
)


class Wrapped(nn.Module):
    """As libraries wrap a moving average: a decay, and the copy somewhere inside."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.decay = 0.9
        self.inner = nn.ModuleDict({"ema": copy.deepcopy(model).eval()})

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        theirs = dict(model.named_parameters())
        for name, param in self.inner["ema"].named_parameters():
            param.lerp_(theirs[name], 1 - self.decay)


def averaged(model: nn.Module) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))


def train(model: nn.Module, optimizer: Any, inputs: tuple[Tensor, ...], target: Tensor) -> None:
    optimizer.zero_grad()
    (model(*inputs) - target).square().mean().backward()
    optimizer.step()


def mask(model: nn.Module, name: str, plan: Plan, value: dict[str, Tensor] | None = None) -> None:
    """Zero the outgoing weights of removed units, or give removed units their values back."""
    tensors = dict(named_tensors(model))
    for group in proven(name).layout.groups:
        gone = sorted(set(range(group.units)) - set(plan.units[group.name]))
        for member in group.members if value else group.consumed:
            tensor, index = tensors[member.param], member.positions[gone].flatten()
            if value:
                old = value[member.param].index_select(member.axis, index)
                tensor.data.index_copy_(member.axis, index, old)
            else:
                tensor.data.index_fill_(member.axis, index, 0.0)


@pytest.mark.parametrize("wrap", [averaged, Wrapped])
@pytest.mark.parametrize("name", MODELS)
def test_an_average_is_that_of_the_masked_full_model(name: str, wrap: Any) -> None:
    model, batch = build(name)
    model = model.double().eval()
    masked, ema = copy.deepcopy(model), wrap(model)
    masked_ema = wrap(masked)
    bound, masked_bound = SGD(model.parameters(), 1e-2), SGD(masked.parameters(), 1e-2)
    inputs = tuple(tensor.double() for tensor in batch(8))
    target = torch.randn(8, dtype=torch.float64)
    live = LiveModel(model, bound, proven(name), {}, rescaled=False)
    live.follow(ema)
    plan = Plan({key: units[::2] for key, units in live.full.units.items()})

    def learn(masked_plan: Plan | None) -> None:
        train(model, bound, inputs, target)
        train(masked, masked_bound, inputs, target)
        if masked_plan is not None:
            mask(masked, name, masked_plan)
        ema.update_parameters(model)
        masked_ema.update_parameters(masked)
        copies = (_copy(ema)(*inputs), _copy(masked_ema)(*inputs))
        torch.testing.assert_close(*copies, rtol=0, atol=1e-10)

    for _ in range(2):
        learn(None)
    before = [_values(masked), _values(_copy(masked_ema))]
    live.resize_units(plan.units)
    mask(masked, name, plan)
    mask(_copy(masked_ema), name, plan)
    for _ in range(2):
        learn(plan)
    live.resize_units(live.full.units)
    mask(masked, name, plan, before[0])
    mask(_copy(masked_ema), name, plan, before[1])
    for _ in range(2):
        learn(None)
    assert not torch.allclose(_copy(ema)(*inputs), model(*inputs), rtol=0, atol=1e-8)


def _copy(wrapper: nn.Module) -> nn.Module:
    found = wrapper.inner["ema"] if isinstance(wrapper, Wrapped) else wrapper.module
    assert isinstance(found, nn.Module)
    return found


def _values(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in named_tensors(model)}


def looped(
    controller: Any, model: nn.Module, optimizer: Any, ema: nn.Module, stream: Stream, steps: int
) -> list[str]:
    kinds = []
    for _ in range(steps):
        kinds += [event.kind for event in run(controller, model, optimizer, stream, 1)]
        ema.update_parameters(model)
    return kinds


@pytest.mark.parametrize("wrap", [averaged, Wrapped])
def test_it_is_updated_right_after_every_resize(wrap: Any) -> None:
    controller, model, optimizer = make(CYCLE)
    ema = wrap(model)
    controller.follow(ema)
    kinds = looped(controller, model, optimizer, ema, Stream(), 60)
    assert kinds.count("grow") >= 1
    assert kinds.count("shrink") >= 2
    assert not torch.equal(_copy(ema).top[0].weight, model.top[0].weight)
    for _ in range(300):  # of a model that stands still the average comes to be that model
        ema.update_parameters(model)
    for key, value in _values(_copy(ema)).items():
        torch.testing.assert_close(value, _values(model)[key], rtol=1e-4, atol=1e-6)
    assert controller.summary()["mirror_bytes"] > 0


def test_units_come_back_with_the_values_that_they_had_in_the_copy() -> None:
    controller, model, optimizer = make(CYCLE)
    ema = averaged(model)
    controller.follow(ema)
    stream, kinds = Stream(), list[str]()
    while "shrink" not in kinds:
        before = _values(ema.module)
        kinds = looped(controller, model, optimizer, ema, stream, 1)
    gone = sorted(set(range(32)) - set(controller.plan.units["top.0"]))
    while "grow" not in kinds:
        kinds = looped(controller, model, optimizer, ema, stream, 1)
    # One update after the grow lies between, of a tenth of the way to the live model.
    back = ema.module.top[0].weight[gone] - before["top.0.weight"][gone]
    live = model.top[0].weight[gone] - before["top.0.weight"][gone]
    torch.testing.assert_close(back, 0.1 * live, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("moment", [3, 8, 12, 30])
def test_a_run_resumed_with_its_average_ends_bit_identical(moment: int) -> None:
    def fresh() -> Any:
        controller, model, optimizer = make(CYCLE)
        ema = averaged(model)
        controller.follow(ema)
        return controller, model, optimizer, ema

    whole, stream = fresh(), Stream()
    looped(*whole, stream, moment)
    states = copy.deepcopy([part.state_dict() for part in whole])
    looped(*whole, stream, 40 - moment)
    resumed, again = fresh(), Stream()
    for part, state in zip(resumed, states, strict=True):
        part.load_state_dict(state)
    for _ in range(moment):
        again.batch()
    looped(*resumed, again, 40 - moment)
    for whole_part, part in ((whole[1], resumed[1]), (whole[3], resumed[3])):
        wanted = whole_part.state_dict()
        for key, value in part.state_dict().items():
            assert torch.equal(value, wanted[key]), key
    assert any("follower0" in key for key in whole[0].state_dict())


@pytest.mark.parametrize("size", ["full", "live"])
def test_a_copy_may_come_when_the_model_is_already_narrow(size: str) -> None:
    controller, model, optimizer = make(CYCLE)
    ema, stream, kinds = averaged(model), Stream(), list[str]()
    while "shrink" not in kinds:
        kinds = [event.kind for event in run(controller, model, optimizer, stream, 1)]
    if size == "live":
        ema = averaged(model)
    controller.follow(ema)
    assert ema.module.top[0].weight.shape == model.top[0].weight.shape
    kinds = looped(controller, model, optimizer, ema, stream, 30)
    assert "grow" in kinds
    assert ema.module.top[0].weight.abs().sum(dim=1).min() > 0  # nothing came back as zeros


def test_what_is_no_copy_is_told() -> None:
    controller, model, _ = make(FAST)
    with pytest.raises(ConfigError, match=r"Linear holds no copy of SmallDLRM \(no module .*'bott"):
        controller.follow(nn.Linear(3, 1))
    with pytest.raises(ConfigError, match="only the model itself"):
        controller.follow(nn.ModuleList([model]))
    with pytest.raises(ConfigError, match=r"'bottom.0.weight' of the copy is \(16, 5\).*\(32, 5\)"):
        controller.follow(SmallDLRM(width=16))
    borrowed = SmallDLRM(width=32)
    borrowed.top = model.top
    with pytest.raises(ConfigError, match="live model's own"):
        controller.follow(borrowed)
    controller.follow(averaged(model))
    state = controller.state_dict()
    other, _, _ = make(FAST)
    with pytest.raises(ConfigError, match="1 copies of the model followed it, here 0"):
        other.load_state_dict(state)


def test_nothing_changes_when_a_graph_holds_the_copy() -> None:
    controller, model, optimizer = make(FAST)
    ema = copy.deepcopy(model)
    controller.follow(ema)
    stream = Stream()
    run(controller, model, optimizer, stream, 7)
    held = ema(torch.randn(4, 5), torch.randn(4, 3, 4))
    with pytest.raises(RunError, match="held by an autograd graph"):
        run(controller, model, optimizer, stream, 20)
    assert model.top[0].weight.shape == ema.top[0].weight.shape == (32, 10)
    del held
    assert [event.kind for event in run(controller, model, optimizer, stream, 1)] == ["shrink"]
    assert model.top[0].weight.shape == ema.top[0].weight.shape != (32, 10)
