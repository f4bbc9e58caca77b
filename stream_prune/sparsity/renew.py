"""Renewal: units that have been grown start anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.optimizer_state import element_states, first_value
from stream_prune.sparsity.plan import Plan


@torch.no_grad()
def renew(
    model: nn.Module,
    optimizer: Optimizer | None,
    layout: Layout,
    plan: Plan,
    grown: Mapping[str, Sequence[int]],
) -> None:
    """Zero the outgoing weights of units that have just come, and begin their optimizer state.

    So their coming changes no output. What computes them stays: they have the incoming weights of
    when they were last alive, or those that they were initialised with. What the optimizer knew of
    them when they were dropped is forgotten, as in Dynamic Sparse Learning (arXiv 2402.02855)
    where weights are dropped and grown; step counters belong to whole tensors and go on.

    Args:
        model: the live model, under ``plan``.
        optimizer: trains it; None: there is no state to begin.
        layout: its groups.
        grown: per group the units that have come, in the full model's coordinates.
    """
    tensors = dict(named_tensors(model))
    for group in layout.groups:
        units = torch.tensor(grown[group.name], dtype=torch.int64)
        if not len(units):
            continue
        among = torch.searchsorted(torch.tensor(plan.units[group.name]), units)
        for member in group.members:
            tensor = tensors[member.param]
            positions = layout.live_positions(member, group.name, plan)[among].flatten()
            positions = positions.to(tensor.device)
            if any(member is other for other in group.consumed):
                tensor.index_fill_(member.axis, positions, 0.0)
            for key, state in element_states(optimizer, member.param, tensor).items():
                state.index_fill_(member.axis, positions, first_value(optimizer, tensor, key))
