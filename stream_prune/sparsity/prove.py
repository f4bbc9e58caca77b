"""Proves groups on a copy of the model: masking units and removing them must be the same."""

from __future__ import annotations

import copy
import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from stream_prune.errors import ConfigError
from stream_prune.sparsity.cost import CostModel, Measurement, measure
from stream_prune.sparsity.discover import discover
from stream_prune.sparsity.example import Example, differentiable, flatten
from stream_prune.sparsity.groups import Group, named_tensors
from stream_prune.sparsity.layout import Layout, gather
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize

_DRAWS = 4  # redraw when the dropped units happen to be dead on the whole example batch
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


@dataclass(frozen=True)
class Proven:
    """The groups that may be pruned, why others may not, and what any plan costs."""

    groups: tuple[Group, ...]
    refused: dict[str, str]
    layout: Layout
    cost: CostModel


class _FailedError(Exception):
    """Why a proof failed."""


def prove(model: nn.Module, example: Example) -> Proven:
    """Discover the groups of a model and keep those that are proven.

    Works on a copy in evaluation mode, in double precision where the model allows it, with all
    parameters drawn at random (a fresh model's zeros would prove nothing); the model and the global
    random state are left as they are.

    Raises:
        ConfigError: the model cannot be copied or run on the example.
    """
    try:
        trial = copy.deepcopy(model).eval()
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"the model {type(model).__name__} cannot be copied: {error}; wrap the dense part only"
        ) from error
    devices = {tensor.device.index or 0 for _, tensor in named_tensors(model) if tensor.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)), torch.enable_grad():
        return _Prover(trial, example).prove()


class _Prover:
    def __init__(self, trial: nn.Module, example: Example) -> None:
        self.trained = frozenset(
            name for name, param in trial.named_parameters() if param.requires_grad
        )
        self.trial, self.example = _precise(trial, example)
        self.model_dtype = torch.float64 if self.example is not example else torch.float32
        self.measured = self._measure()
        self.drawn: int | None = None

    def prove(self) -> Proven:
        for param in self.trial.parameters():
            param.requires_grad_(param.is_floating_point())
        found = discover(self.trial, self._forward, differentiable)
        gc.collect()  # the dependency graph is full of cycles and holds the traced pass
        refused = dict(found.refused)
        alone: list[Group] = []
        slopes: dict[str, float] = {}
        for candidate in found.candidates:
            group = candidate.group
            try:
                try:
                    slopes[group.name] = self._other_per_unit(group)
                except _FailedError:
                    if candidate.headwise is None:
                        raise
                    group = candidate.headwise
                    slopes[group.name] = self._other_per_unit(group)
            except _FailedError as reason:
                refused[group.name] = str(reason)
            else:
                alone.append(replace(group, exact=True))
        groups = self._jointly(alone, slopes, refused)
        layout, cost = self._cost(groups, slopes)
        return Proven(tuple(groups), refused, layout, cost)

    def _jointly(
        self, alone: list[Group], slopes: dict[str, float], refused: dict[str, str]
    ) -> list[Group]:
        """Check that the groups can be pruned together; otherwise admit them one by one."""
        if not alone:
            return []
        try:
            self._check_all(alone, slopes)
        except _FailedError:
            admitted: list[Group] = []
            for group in alone:
                try:
                    self._check_all([*admitted, group], slopes)
                except _FailedError as reason:
                    refused[group.name] = f"together with the other groups: {reason}"
                else:
                    admitted.append(group)
            return admitted
        return alone

    def _check_all(self, groups: Sequence[Group], slopes: dict[str, float]) -> None:
        _, cost = self._cost(groups, slopes)
        plan, measured = self._check(groups)
        if abs(cost.macs(plan.widths) - measured.total) > 0.5:
            raise _FailedError("its share of the attention or interaction cost is not linear")

    def _other_per_unit(self, group: Group) -> float:
        """Prove one group; how many MACs outside of the layers each of its units stands for."""
        if group.units < 2:
            raise _FailedError("it has a single unit")
        plan, measured = self._check([group])
        removed = group.units - len(plan.units[group.name])
        return (self.measured.other - measured.other) / removed

    def _check(self, groups: Sequence[Group]) -> tuple[Plan, Measurement]:
        """Masked against removed, for a random half of the units of every group."""
        layout = Layout(self.trial, groups)
        for draw in range(_DRAWS):
            generator = torch.Generator().manual_seed(draw)
            self._draw(draw)
            plan = Plan({group.name: _half(group.units, generator) for group in groups})
            with torch.no_grad():
                full = _outputs(self._forward())
            masked, expected = self._run_masked(layout, plan, draw)
            if not _close(masked, full, 1e-3):
                break
        else:
            raise _FailedError("on the example batch its units have no influence on the output")
        removed, gradients, measured = self._run_removed(layout, plan, draw)
        tolerance = _TOLERANCE[self.model_dtype]
        if not _close(removed, masked, tolerance):
            raise _FailedError("something between it and its consumers mixes its units")
        for name, gradient in gradients.items():
            kept = layout.kept(plan).get(name, {})
            if not _close([gradient], [gather(expected[name], kept)], tolerance):
                raise _FailedError(f"the gradient of {name!r} changes when units are removed")
        return plan, measured

    def _draw(self, draw: int) -> None:
        """Random weights; drawn anew only where a proof needs others."""
        if draw != self.drawn:
            _randomise(self.trial, torch.Generator().manual_seed(draw))
            self.drawn = draw

    def _run_masked(
        self, layout: Layout, plan: Plan, seed: int
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Outputs and gradients with the removed units' outgoing weights at zero."""
        tensors = dict(named_tensors(self.trial))
        saved: dict[str, Tensor] = {}
        with torch.no_grad():
            for group in layout.groups:
                gone = sorted(set(range(group.units)) - set(plan.units[group.name]))
                for member in group.consumed:
                    tensor = tensors[member.param]
                    saved.setdefault(member.param, tensor.clone())
                    index = member.positions[gone].flatten().to(tensor.device)
                    tensor.index_fill_(member.axis, index, 0.0)
        outputs, gradients = self._backward(seed)
        with torch.no_grad():
            for name, value in saved.items():
                tensors[name].copy_(value)
        return outputs, gradients

    def _run_removed(
        self, layout: Layout, plan: Plan, seed: int
    ) -> tuple[list[Tensor], dict[str, Tensor], Measurement]:
        """Outputs, gradients and cost with the units removed; puts them back."""
        mirror, everything = Mirror(), Plan.full(layout.groups)
        resize(self.trial, None, layout, mirror, everything, plan)
        failure = ""
        try:
            measured = self._measure()
            outputs, gradients = self._backward(seed)
        except (
            ArithmeticError,
            AssertionError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as e:
            failure = str(e).partition("\n")[0] or type(e).__name__
        # Only here, where the failed pass's graph is gone, can parameters be resized.
        resize(self.trial, None, layout, mirror, plan, everything)
        if failure:
            raise _FailedError(f"without some of its units the model fails: {failure}")
        return outputs, gradients, measured

    def _backward(self, seed: int) -> tuple[list[Tensor], dict[str, Tensor]]:
        self.trial.zero_grad(set_to_none=True)
        output = self._forward()
        generator = torch.Generator().manual_seed(seed)
        total = torch.zeros((), dtype=self.model_dtype)
        for tensor in differentiable(output):
            weight = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            total = total.to(tensor.device) + (tensor * weight.to(tensor)).sum()
        total.backward()  # type: ignore[no-untyped-call]
        gradients = {
            name: param.grad
            for name, param in self.trial.named_parameters()
            if param.grad is not None
        }
        outputs = _outputs(output)
        self.trial.zero_grad(set_to_none=True)
        return outputs, gradients

    def _forward(self) -> object:
        return self.example.call(self.trial)

    def _measure(self) -> Measurement:
        return measure(self.trial, self._forward, self.example.rows, self.trained)

    def _cost(self, groups: Sequence[Group], slopes: dict[str, float]) -> tuple[Layout, CostModel]:
        layout = Layout(self.trial, groups)
        own = {group.name: slopes[group.name] for group in groups if slopes[group.name]}
        return layout, CostModel.build(self.trial, layout, self.measured, own)


def _precise(trial: nn.Module, example: Example) -> tuple[nn.Module, Example]:
    """The model and the example in double precision, if the model can run in it."""
    try:
        wide, batch = copy.deepcopy(trial).double(), example.double()
        batch.call(wide)
    except (RuntimeError, TypeError, ValueError):
        try:
            example.call(trial)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"example: the model {type(trial).__name__} cannot be run on it: {error}"
            ) from error
        return trial, example
    return wide, batch


def _randomise(model: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for name, tensor in named_tensors(model):
            running = name.rpartition(".")[2] in ("running_mean", "running_var")
            if not tensor.is_floating_point() or not (isinstance(tensor, nn.Parameter) or running):
                continue
            drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if running:  # positive, not far from one
                drawn = drawn.mul(0.3).exp()
            elif tensor.dim() > 1:
                drawn *= 1.5 / max(1.0, tensor[0].numel() ** 0.5)
            else:
                drawn = 0.5 + 0.5 * drawn
            tensor.copy_(drawn)


def _half(units: int, generator: torch.Generator) -> tuple[int, ...]:
    """A random choice of about half of the units, ascending; neither none nor all."""
    order = torch.randperm(units, generator=generator).tolist()
    return tuple(sorted(order[: max(1, units // 2)]))


def _outputs(output: object) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in flatten(output)]


def _close(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> bool:
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in wanted]:
        return False
    for a, b in zip(found, wanted, strict=True):
        scale = float(b.abs().max()) if b.numel() else 0.0
        if not bool(((a - b).abs() <= tolerance * max(scale, 1e-6)).all()):
            return False
    return True
