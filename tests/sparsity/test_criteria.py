"""What every criterion owes the controller, and each one's own meaning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plugin_models import build, proven, train
from torch import nn
from torch.optim import SGD

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity.criteria import CRITERIA
from stream_prune.sparsity.criteria.activation_variance import activation_variance
from stream_prune.sparsity.criteria.collect import Collector
from stream_prune.sparsity.criteria.movement import settle
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.groups import Group, Member
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.prove import prove
from stream_prune.sparsity.surgery import resize

MODELS = ("mlp", "dlrm", "conv", "attention")


def collecting(name: str, criterion: str, plan: Plan | None = None) -> tuple[Any, ...]:
    """A model in double precision with an armed collector, and an example batch."""
    model, batch = build(name)
    model, inputs = model.double(), tuple(tensor.double() for tensor in batch(16))
    optimizer = SGD(model.parameters(), 1e-2)
    layout = proven(name).layout
    full = Plan.full(layout.groups)
    if plan is not None:
        resize(model, optimizer, layout, Mirror(), full, plan)
    collector = Collector(model, optimizer, layout, CRITERIA[criterion])
    collector.arm(full if plan is None else plan)
    return collector, model, optimizer, inputs


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", MODELS)
def test_every_unit_has_a_score_that_allocation_can_compare(name: str, criterion: str) -> None:
    collector, model, optimizer, inputs = collecting(name, criterion)
    train(model, optimizer, inputs, 3)
    assert collector.ready
    scores = collector.scores()
    assert {key: len(values) for key, values in scores.items()} == {
        group.name: group.units for group in proven(name).groups
    }
    for values in scores.values():
        assert values.dtype == torch.float64
        assert bool((values >= 0).all())
        assert float(values.mean()) == pytest.approx(1.0)
        assert values.unique().numel() > 1


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", MODELS)
def test_scores_follow_the_units_when_others_are_removed(name: str, criterion: str) -> None:
    """Units with zero outgoing weights change nothing, so removing them keeps the others' order."""
    layout = proven(name).layout
    group = next(g for g in layout.groups if g.name != "wide")
    gone = (0, 3)
    units = Plan.full(layout.groups).units
    plan = Plan({**units, group.name: tuple(u for u in units[group.name] if u not in gone)})
    found = []
    for narrow in (None, plan):
        torch.manual_seed(1)
        collector, model, optimizer, inputs = collecting(name, criterion)
        tensors = dict(model.named_parameters())
        with torch.no_grad():
            for member in group.consumed:
                index = member.positions[list(gone)].flatten()
                tensors[member.param].index_fill_(member.axis, index, 0.0)
        if narrow is not None:
            resize(model, optimizer, layout, Mirror(), Plan.full(layout.groups), narrow)
            collector.arm(narrow)
        train(model, optimizer, inputs, 1)
        found.append(collector.scores()[group.name])
    kept = found[0][list(plan.units[group.name])]
    torch.testing.assert_close(found[1].argsort(), kept.argsort())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scoring_passes_and_dropped_gradients_leave_no_trace(criterion: str) -> None:
    quiet, disturbed = (collecting("mlp", criterion) for _ in range(2))
    for collector, model, optimizer, inputs in (quiet, disturbed):
        if collector is disturbed[0]:
            with torch.no_grad():
                model(inputs[0] * 100)
            model(inputs[0] * 100).sum()
            optimizer.zero_grad()
            optimizer.step()
        train(model, optimizer, inputs, 2)
    for name, values in quiet[0].scores().items():
        assert torch.equal(values, disturbed[0].scores()[name])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_window_taken_up_in_the_middle_gives_the_same_scores(criterion: str) -> None:
    collector, model, optimizer, inputs = collecting("dlrm", criterion)
    train(model, optimizer, inputs, 2)
    state = collector.state_dict()
    other, model_2, optimizer_2, _ = collecting("dlrm", criterion)
    model_2.load_state_dict(model.state_dict())
    other.load_state_dict(state, Plan.full(proven("dlrm").groups))
    for continued, bound in ((model, optimizer), (model_2, optimizer_2)):
        train(continued, bound, inputs, 2)
    for name, values in collector.scores().items():
        assert torch.equal(values, other.scores()[name])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_what_is_not_finite_is_said_with_the_group(criterion: str) -> None:
    collector, model, optimizer, inputs = collecting("mlp", criterion)
    with torch.no_grad():
        model.layers[0].weight[2] = float("nan")
    train(model, optimizer, inputs, 1)
    with pytest.raises(RunError, match=r"layers\..*not finite"):
        collector.scores()


@pytest.mark.parametrize("criterion", ["taylor", "activation_variance"])
def test_a_unit_that_says_nothing_is_the_least(criterion: str) -> None:
    collector, model, optimizer, inputs = collecting("mlp", criterion)
    with torch.no_grad():
        model.layers[0].weight[5] = 0.0
        model.layers[0].bias[5] = 0.0
    train(model, optimizer, inputs, 1)
    scores = collector.scores()["layers.0"]
    assert scores[5] == scores.min() == 0


def test_activation_variance_is_that_of_what_the_next_layer_reads() -> None:
    collector, model, optimizer, inputs = collecting("mlp", "activation_variance")
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, inputs, 1)
    read = torch.relu(model.layers[0](inputs[0])).detach()
    wanted = read.var(dim=0, correction=0)
    torch.testing.assert_close(collector.scores()["layers.0"], wanted / wanted.mean())


def test_activation_variance_of_nothing_is_zero_and_adds_up_over_positions() -> None:
    values = torch.tensor([[1.0, 3.0], [5.0, 5.0], [2.0, 6.0]]).double()
    counts = torch.full((3,), 2.0, dtype=torch.float64)
    moments = torch.stack([counts, values.sum(1), values.square().sum(1)], dim=1)
    assert activation_variance(moments[None]).tolist() == [1.0 + 0.0 + 4.0]
    assert activation_variance(torch.zeros(4, 1, 3).double()).tolist() == [0.0] * 4


def test_activation_variance_asks_for_another_criterion_where_it_cannot_see() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 8)
            self.second = nn.Parameter(torch.randn(8, 1))

    model = Functional()
    each = torch.arange(8)[:, None]
    produced = (Member("first.weight", 0, each), Member("first.bias", 0, each))
    layout = Layout(model, [Group("first", 8, produced, (Member("second", 0, each),), exact=True)])
    optimizer = SGD(model.parameters(), 0.1)
    with pytest.raises(ConfigError, match=r"'first'.*use taylor"):
        Collector(model, optimizer, layout, CRITERIA["activation_variance"])


def test_movement_prefers_weights_that_grow_to_weights_that_are_large() -> None:
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.0]]))
        model[1].weight.copy_(torch.tensor([[0.1, 5.0]]))
    x, target = torch.ones(4, 1), torch.full((4, 1), 10.0)  # both outgoing weights should grow
    layout = prove(model, Example(x)).layout
    optimizer = SGD(model.parameters(), 1e-3)
    scores = {}
    for wanted, value in (("growing", target), ("shrinking", -target)):
        collector = Collector(model, optimizer, layout, CRITERIA["movement"])
        collector.arm(Plan.full(layout.groups))
        optimizer.zero_grad()
        (model(x) - value).square().mean().backward()
        optimizer.step()
        scores[wanted] = collector.scores()["0"]
    assert scores["growing"][1] > scores["growing"][0]
    assert scores["shrinking"][1] < scores["shrinking"][0]


def test_movement_of_nothing_makes_all_units_equal() -> None:
    assert settle(torch.zeros(3).double()).tolist() == [0.5] * 3
