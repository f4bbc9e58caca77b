"""Proves discovered groups: only where removing units equals masking them may they be pruned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from stream_prune.sparsity.cost import CostModel
from stream_prune.sparsity.discover import Candidate, discover
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.groups import Group, named_tensors
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.statistics import normalised
from stream_prune.sparsity.trial import DisprovedError, Trial

_ROUNDING = 0.5  # MACs per example


@dataclass(frozen=True)
class Proven:
    """The groups that may be pruned, why others may not, and what any plan costs.

    Attributes:
        behind: per layer the normalisation with running statistics that takes its output.
    """

    groups: tuple[Group, ...]
    refused: dict[str, str]
    layout: Layout
    cost: CostModel
    behind: dict[str, str]


def prove(model: nn.Module, example: Example, untrained: frozenset[str] = frozenset()) -> Proven:
    """Discover the groups of a model and keep those that are proven.

    Works on a copy; the model and the global random state are left as they are.

    Args:
        model: the full model.
        example: a batch for it.
        untrained: names of parameters that the optimizer does not hold though they are to be
            trained; the state that another optimizer has for them could not follow a resize.

    Raises:
        ConfigError: the model cannot be copied or run on the example.
    """
    devices = {tensor.device.index or 0 for _, tensor in named_tensors(model) if tensor.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)), torch.enable_grad():
        trial = Trial(model, example)
        trial.draw(0)
        found = discover(trial.model, trial.forward)
        refused = dict(found.refused)
        outside: dict[str, float] = {}
        alone: list[Group] = []
        for candidate in found.candidates:
            try:
                group, per_unit = _prove_alone(trial, candidate, untrained)
            except DisprovedError as reason:
                refused.update(dict.fromkeys(candidate.layers, str(reason)))
            else:
                alone.append(replace(group, exact=True))
                outside[group.name] = per_unit
        groups = _prove_together(trial, alone, outside, refused)
        grouped = {member.param.rpartition(".")[0] for g in groups for member in g.produced}
        refused = {name: why for name, why in refused.items() if name not in grouped}
        layout, cost = _account(trial, groups, outside)
        behind = normalised(trial.model, trial.forward)
        return Proven(tuple(groups), refused, layout, cost, behind)


def _prove_alone(
    trial: Trial, candidate: Candidate, untrained: frozenset[str]
) -> tuple[Group, float]:
    """The first guess that holds, and each unit's MACs outside of the layers.

    With half of the units removed, and with one: half of them may fit a fixed shape by chance.
    """
    reasons: list[DisprovedError] = []
    for group in candidate.guesses:
        if group.units < 2 and not group.whole:
            raise DisprovedError("it has a single unit")
        others = [member.param for member in group.members if member.param in untrained]
        try:
            if others:
                raise DisprovedError(f"{others[0]!r} is not trained by the optimizer")
            plan = trial.compare([group], one=True)
            if not group.whole:
                plan = trial.compare([group])
        except DisprovedError as reason:
            reasons.append(reason)
        else:
            measured = trial.measure_under([group], plan)
            removed = group.units - len(plan.units[group.name])
            return group, (trial.measured.other - measured.other) / removed
    raise reasons[0]


def _prove_together(
    trial: Trial, alone: list[Group], outside: dict[str, float], refused: dict[str, str]
) -> list[Group]:
    """All of them at once; where that fails, one by one beside those admitted before."""
    if not alone:
        return []
    try:
        _compare_and_count(trial, alone, outside)
    except DisprovedError:
        admitted: list[Group] = []
        for group in alone:
            try:
                _compare_and_count(trial, [*admitted, group], outside)
            except DisprovedError as reason:
                refused[group.name] = f"together with the other groups: {reason}"
            else:
                admitted.append(group)
        return admitted
    return alone


def _compare_and_count(trial: Trial, groups: Sequence[Group], outside: dict[str, float]) -> None:
    _, cost = _account(trial, groups, outside)
    plan = trial.compare(groups)
    measured = trial.measure_under(groups, plan)
    if abs(cost.macs(plan.widths) - measured.total) > _ROUNDING:
        raise DisprovedError("its MACs outside of the layers do not follow its width alone")


def _account(
    trial: Trial, groups: Sequence[Group], outside: dict[str, float]
) -> tuple[Layout, CostModel]:
    layout = Layout(trial.model, groups)
    per_unit = {group.name: outside[group.name] for group in groups if outside[group.name]}
    return layout, CostModel.build(trial.model, layout, trial.measured, per_unit)
