"""What is reported as cost is what the live model does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_models import MODELS, build, plans, proven
from torch.utils.flop_counter import FlopCounterMode

from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_macs_and_parameters_are_those_of_the_live_model(name: str, data: st.DataObject) -> None:
    found = proven(name)
    model, batch = build(name)
    plan = data.draw(plans(found.groups))
    resize(model, None, found.layout, Mirror(), Plan.full(found.groups), plan)
    cost = found.cost.cost(plan)
    inputs, rows = batch(6), 6
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model.eval()(*inputs)
    assert cost.macs_inference == forward.get_total_flops() / 2 / rows
    assert cost.parameters == sum(param.numel() for param in model.parameters())


# Not "conv": torch counts the backward of a depthwise convolution as that of a full one.
@pytest.mark.parametrize("name", ["mlp", "dlrm", "attention"])
def test_training_macs_are_those_of_a_forward_and_a_backward_pass(name: str) -> None:
    found = proven(name)
    model, batch = build(name)
    with FlopCounterMode(display=False) as counter:
        model(*batch(6)).sum().backward()
    full = found.cost.cost(Plan.full(found.groups))
    assert full.macs_training == counter.get_total_flops() / 2 / 6
