"""What is reported as the cost of training is what a step does; test_footprint has the rest."""

import pytest
from plugin_models import build, proven
from torch.utils.flop_counter import FlopCounterMode

from stream_prune.sparsity.plan import Plan


# Not "conv": torch counts the backward of a depthwise convolution as that of a full one.
@pytest.mark.parametrize("name", ["mlp", "dlrm", "attention"])
def test_training_macs_are_those_of_a_forward_and_a_backward_pass(name: str) -> None:
    found = proven(name)
    model, batch = build(name)
    with FlopCounterMode(display=False) as counter:
        model(*batch(6)).sum().backward()
    full = found.cost.cost(Plan.full(found.groups))
    assert full.macs_training == counter.get_total_flops() / 2 / 6
