"""Which units are found prunable, and what is said of the rest."""

import copy

import every_model
import pytest
import torch
from every_model import RECOMMENDERS
from plugin_models import Normalised, build, proven
from torch import nn

from stream_prune.sparsity.example import Example
from stream_prune.sparsity.prove import prove


def widths(name: str) -> dict[str, int]:
    return {group.name: group.units for group in proven(name).groups}


def test_hidden_layers_of_an_mlp_are_groups_and_its_output_is_refused() -> None:
    assert widths("mlp") == {"layers.0": 16, "layers.2": 12}
    assert "outputs of the model" in proven("mlp").refused["layers.4"]


def test_the_layer_that_feeds_a_dot_interaction_stays_dense_and_the_others_do_not() -> None:
    assert widths("dlrm") == {"bottom.0": 16, "top.0": 16, "top.2": 8}
    assert set(proven("dlrm").refused) == {"bottom.2", "top.4"}


def test_convolutions_carry_batch_norm_depthwise_flatten_and_concatenation_along() -> None:
    assert widths("conv") == {"conv1": 8, "conv2": 6, "wide": 10, "narrow": 6}
    first = next(group for group in proven("conv").groups if group.name == "conv1")
    assert {"norm1.running_mean", "norm1.weight", "depthwise.weight"} <= {
        member.param for member in first.produced
    }
    second = next(group for group in proven("conv").groups if group.name == "conv2")
    assert second.consumed[0].param == "wide.weight"
    assert second.consumed[0].positions.shape == (6, 4)  # 2 x 2 pooled positions a channel
    wide = next(group for group in proven("conv").groups if group.name == "wide")
    assert {member.param for member in wide.consumed} == {"narrow.weight", "out.weight"}


def test_attention_is_pruned_by_whole_heads_and_residual_streams_are_refused() -> None:
    assert widths("attention") == {"query": 4, "up": 12}
    heads = next(group for group in proven("attention").groups if group.name == "query")
    assert {member.param for member in heads.consumed} == {"join.weight"}
    assert "key.weight" in {member.param for member in heads.produced}
    refused = proven("attention").refused
    assert set(refused) == {"embed", "join", "down", "out"}
    assert "LayerNorm" in refused["join"] or "residual" in refused["join"]


def test_layer_norm_tied_weights_and_unreached_layers_are_refused_by_name() -> None:
    model = Normalised()
    model.unused = nn.Linear(3, 3)
    found = prove(model, Example(torch.arange(5)))
    assert [group.name for group in found.groups] == ["fourth"]
    assert "LayerNorm 'norm' mixes" in found.refused["first"]
    assert "tied to" in found.refused["second"]
    assert "tied to" in found.refused["third"]
    assert "does not reach" in found.refused["unused"]


OUTPUTS = "outputs of the model"
WHOLE_HEADS = "runs only with heads that together are as wide as its input"
BROUGHT: dict[str, tuple[dict[str, int], dict[str, str]]] = {
    "packed attention": (
        {"attention.qkv": 4, "deep.0": 12},
        {"attention.proj": "LayerNorm 'norm' mixes", "deep.2": OUTPUTS},
    ),
    "attention with named sizes": (
        {"attention.query": 4, "deep.0": 12},
        {"attention.output": "LayerNorm 'norm' mixes", "deep.2": OUTPUTS},
    ),
    "torch's attention": (
        {"deep.0": 12},
        {"attention": WHOLE_HEADS, "attention.out_proj": WHOLE_HEADS, "deep.2": OUTPUTS},
    ),
    "torch's encoder layer": (
        {"encoder.linear1": 16, "head.0": 12},
        {
            "encoder.self_attn": WHOLE_HEADS,
            "encoder.self_attn.out_proj": WHOLE_HEADS,
            "encoder.linear2": "LayerNorm 'encoder.norm2' mixes",
            "head.2": OUTPUTS,
        },
    ),
    "interest network": (
        {"unit.0": 10, "first": 12, "second": 6},
        {"unit.2": "a single unit", "out": OUTPUTS},
    ),
    "channel gates": ({"conv": 8, "squeeze": 4}, {"out": OUTPUTS}),
    "recurrent": (
        {"deep.0": 10},
        {
            "gru": "reads its own units again",
            "project": "GRU 'gru' reads its units",
            "deep.2": OUTPUTS,
        },
    ),
    "two towers": (
        {"user.0": 16, "item.0": 12},
        {"user.2": "with no layer in between", "item.2": "with no layer in between"},
    ),
    "multi-task": (
        {
            **{f"experts.{expert}.0": 12 for expert in range(3)},
            "experts.0.2": 8,
            "towers.0.0": 10,
            "towers.1.0": 10,
        },
        {
            **{f"gates.{task}": "the model fails: The size of tensor" for task in range(2)},
            **{f"towers.{task}.2": OUTPUTS for task in range(2)},
        },
    ),
    "machine and deep": ({"deep.0": 16, "deep.3": 8}, {"out": OUTPUTS}),
    "low-rank cross": (
        {"down.0": 6, "down.1": 6, "deep.0": 12},
        {"up.0": "a residual stream", "up.1": "a residual stream", "deep.2": OUTPUTS},
    ),
    "shared encoder": ({"encoder.0": 10, "encoder.2": 6, "deep.0": 8}, {"deep.2": OUTPUTS}),
}


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_what_engineers_bring_is_pruned_or_refused_with_a_reason(name: str) -> None:
    groups, refused = BROUGHT[name]
    found = every_model.proven(name)
    assert {group.name: group.units for group in found.groups} == groups
    assert found.refused.keys() == refused.keys()
    for layer, why in refused.items():
        assert why in found.refused[layer], layer


def test_a_split_that_half_of_the_units_fit_by_chance_is_not_taken_for_a_group() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = nn.Linear(3, 8), nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.a(x).view(len(x), -1, 2).sum(dim=1)).squeeze(1)

    found = prove(Pairs(), Example(torch.randn(4, 3)))
    assert not found.groups
    assert set(found.refused) == {"a", "out"}


def test_a_fixed_size_view_between_two_layers_is_refused_with_the_models_own_error() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.b(self.a(x).view(-1, 2, 4).flip(1).flatten(1))))

    found = prove(Fixed(), Example(torch.randn(4, 3)))
    assert [group.name for group in found.groups] == ["b"]
    assert "a" in found.refused


def test_proving_leaves_model_and_random_state_as_they_were() -> None:
    model, batch = build("conv")
    before, inputs = copy.deepcopy(model.state_dict()), batch(4)
    random = torch.get_rng_state()
    prove(model.train(), Example(inputs))
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(param.requires_grad and param.grad is None for param in model.parameters())


def test_a_freshly_zeroed_model_still_has_provable_groups() -> None:
    model, batch = build("mlp")
    with torch.no_grad():
        for param in model.parameters():
            param.zero_()
    assert len(prove(model, Example(batch(1))).groups) == 2
