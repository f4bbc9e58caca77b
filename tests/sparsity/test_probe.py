"""What experiments tell of how a layer's units are read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from recommender_models import ChannelGates, Dice, MultiTask, NamedSizesAttention, PackedAttention
from torch import Tensor, nn

from stream_prune.sparsity.experiment import UnclearError
from stream_prune.sparsity.groups import Group
from stream_prune.sparsity.probe import Probe
from stream_prune.sparsity.refusals import RefusedError


class Between(nn.Module):
    """Two layers of 4 and 6 units, something in between, and a layer that reads it."""

    def __init__(self, between: Callable[..., Tensor], reads: int, **parts: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.read = nn.Linear(3, 4), nn.Linear(3, 6), nn.Linear(reads, 2)
        self.between = between
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.between(self, x))


def probe(model: nn.Module, *shape: int) -> Probe:
    torch.manual_seed(0)
    with torch.no_grad():
        for param in model.parameters():
            param.normal_()
    inputs = torch.randn(5, *(shape or (3,)))
    return Probe(model.eval(), lambda: model(inputs))


def after(attention: nn.Module) -> Probe:
    """Of a model in which a layer reads what comes out of the attention."""
    model = nn.Sequential()
    model.add_module("attention", attention)
    model.add_module("read", nn.Linear(8, 1))
    return probe(model, 5, 8)


def positions(group: Group, param: str) -> list[list[int]]:
    (member,) = (member for member in group.members if member.param == param)
    return member.positions.tolist()


def test_a_concatenation_shifts_the_units_of_its_second_part() -> None:
    seen = probe(Between(lambda m, x: torch.cat([m.a(x).relu(), m.b(x)], dim=1), 10))
    (first,), (second,) = seen.candidates("a"), seen.candidates("b")
    assert positions(first, "read.weight") == [[0], [1], [2], [3]]
    assert positions(second, "read.weight") == [[4], [5], [6], [7], [8], [9]]
    assert {member.param for member in second.produced} == {"b.weight", "b.bias"}


def test_a_flattened_convolution_gives_every_channel_a_block() -> None:
    model = Between(lambda m, x: m.conv(x).relu().flatten(1), 12, conv=nn.Conv1d(2, 3, 1))
    (group,) = probe(model, 2, 4).candidates("conv")
    assert positions(group, "read.weight") == [[4 * u + i for i in range(4)] for u in range(3)]


def test_units_interleaved_by_a_transpose_are_told_apart() -> None:
    model = Between(lambda m, x: m.conv(x).transpose(1, 2).flatten(1), 12, conv=nn.Conv1d(2, 3, 1))
    (group,) = probe(model, 2, 4).candidates("conv")
    assert positions(group, "read.weight") == [[u, u + 3, u + 6, u + 9] for u in range(3)]


def test_a_reader_that_sees_a_unit_twice_gives_it_two_inputs() -> None:
    model = Between(lambda m, x: torch.cat([m.a(x), m.a(x).square()], dim=1), 8)
    (group,) = probe(model).candidates("a")
    assert positions(group, "read.weight") == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_layers_that_are_added_are_one_group_and_neither_is_offered_alone() -> None:
    model = Between(lambda m, x: m.a(x) + m.twin(x), 4, twin=nn.Linear(3, 4))
    (group,) = probe(model).candidates("a")
    assert {m.param for m in group.produced} == {
        "a.weight",
        "a.bias",
        "twin.weight",
        "twin.bias",
    }


def test_a_residual_stream_is_refused_by_the_layers_that_make_it() -> None:
    def stream(m: Between, x: Tensor) -> Tensor:
        x = m.a(x)
        return x + m.inner(x).relu()

    seen = probe(Between(stream, 4, inner=nn.Linear(4, 4)))
    with pytest.raises(RefusedError, match="'inner' adds to what it reads from 'a'"):
        seen.candidates("a")


def test_a_gate_computed_from_the_units_it_scales_is_no_stream() -> None:
    (group,) = probe(ChannelGates(), 3, 6).candidates("conv")
    assert {m.param for m in group.produced} >= {"conv.weight", "excite.weight"}
    assert {m.param for m in group.consumed} == {"squeeze.weight", "out.weight"}


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_buffers_and_parameters_with_an_entry_a_unit_go_with_it(shape: tuple[int, ...]) -> None:
    model = Between(lambda m, x: m.a(x) * m.scale + m.shift, 4)
    model.register_buffer("scale", torch.rand(shape))
    model.shift = nn.Parameter(torch.zeros(shape))
    (group,) = probe(model).candidates("a")
    members = {m.param: m for m in group.produced}
    assert members["scale"].axis == members["shift"].axis == len(shape) - 1
    assert positions(group, "scale") == [[0], [1], [2], [3]]


def test_a_vector_that_says_the_same_to_all_units_stays() -> None:
    model = Between(lambda m, x: m.a(x) * m.weights.softmax(0)[0], 4)
    model.weights = nn.Parameter(torch.zeros(3))
    (group,) = probe(model).candidates("a")
    assert {m.param for m in group.produced} == {"a.weight", "a.bias"}


def test_activations_with_statistics_of_every_unit_are_followed() -> None:
    model = Between(lambda m, x: m.dice(m.a(x)), 4, dice=Dice(4))
    (group,) = probe(model).candidates("a")
    assert {m.param for m in group.produced} == {
        "a.weight",
        "a.bias",
        "dice.alpha",
        "dice.norm.running_mean",
        "dice.norm.running_var",
    }


def test_a_layer_used_twice_answers_for_both_uses() -> None:
    model = Between(lambda m, x: torch.cat([m.a(x), m.a(x.flip(1))], dim=1), 8)
    (group,) = probe(model).candidates("a")
    assert positions(group, "read.weight") == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_two_uses_that_disagree_are_unclear() -> None:
    model = Between(lambda m, x: m.a(x) + m.a(x.flip(1)).flip(1), 4)
    with pytest.raises(UnclearError):
        probe(model).candidates("a")


def test_layers_that_the_example_does_not_reach_are_said_to_be_so() -> None:
    seen = probe(Between(lambda m, x: m.a(x), 4))
    with pytest.raises(RefusedError, match="does not reach"):
        seen.candidates("b")


def test_a_way_through_the_model_that_hangs_on_values_is_unclear() -> None:
    def branching(m: Between, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.inner(x) if float(x.abs().sum()) > 50 else x  # the example is small, changes large

    with pytest.raises(UnclearError):
        probe(Between(branching, 4, inner=nn.Linear(4, 4))).candidates("a")


def test_units_that_are_contracted_before_they_are_read_are_unclear() -> None:
    model = Between(lambda m, x: m.a(x) * m.b(x).sum(dim=1, keepdim=True), 4)
    with pytest.raises(UnclearError):
        probe(model).candidates("b")


def test_units_that_leave_the_model_are_told_from_those_that_are_summed_on_the_way() -> None:
    seen = probe(Between(lambda m, x: m.a(x), 4))
    with pytest.raises(RefusedError, match=r"outputs of the model$"):
        seen.candidates("read")
    model = Between(lambda m, x: m.a(x), 4)
    model.forward = lambda x: (model.a(x) * model.read(model.a(x)).sum()).sum(1)
    with pytest.raises(RefusedError, match="reach the model's output with no layer in between"):
        probe(model).candidates("a")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.LayerNorm(4), "LayerNorm 'part' mixes its units"),
        (nn.LSTM(4, 4, batch_first=True), "recurrent layer"),
        (nn.MultiheadAttention(4, 2, batch_first=True), "as wide as all of its heads"),
    ],
)
def test_layers_that_mix_units_in_ways_of_their_own_are_named(
    layer: nn.Module, reason: str
) -> None:
    def between(m: Between, x: Tensor) -> Tensor:
        units = m.a(x)
        given = (units,) * 3 if isinstance(m.part, nn.MultiheadAttention) else (units,)
        out = m.part(*given)
        return out[0] if isinstance(out, tuple) else out

    with pytest.raises(RefusedError, match=reason):
        probe(Between(between, 4, part=layer), 2, 3).candidates("a")


def test_packed_attention_has_three_slices_a_head() -> None:
    (group,) = after(PackedAttention()).candidates("attention.qkv")
    assert group.units == 4
    assert group.follows == (("attention.num_heads", 1),)
    assert positions(group, "attention.qkv.weight")[1] == [2, 3, 10, 11, 18, 19]
    assert positions(group, "attention.proj.weight")[1] == [2, 3]


def test_attributes_of_the_attentions_width_are_offered_to_follow_it() -> None:
    guesses = after(NamedSizesAttention()).candidates("attention.query")
    heads = ("attention.num_attention_heads", 1)
    assert [guess.follows for guess in guesses] == [
        (heads,),
        (heads, ("attention.all_head_size", 2)),
    ]
    assert {m.param for m in guesses[0].produced} >= {
        "attention.query.weight",
        "attention.key.weight",
        "attention.value.bias",
    }


def test_experts_whose_opinions_are_mixed_are_one_group() -> None:
    (group,) = probe(MultiTask(), 6).candidates("experts.0.2")
    assert {m.param for m in group.produced} == {
        f"experts.{expert}.2.{leaf}" for expert in range(3) for leaf in ("weight", "bias")
    }
    assert {m.param for m in group.consumed} == {"towers.0.0.weight", "towers.1.0.weight"}


def test_experiments_leave_no_hook_and_no_changed_weight() -> None:
    model = Between(lambda m, x: m.dice(m.a(x)), 4, dice=Dice(4))
    seen = probe(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    seen.candidates("a")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
