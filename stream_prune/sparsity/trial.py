"""A copy of the model to try plans on: with units masked, and with the same units removed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from stream_prune.errors import ConfigError
from stream_prune.sparsity.cost import Measurement, measure
from stream_prune.sparsity.example import MODEL_ERRORS, Example, differentiable, flatten
from stream_prune.sparsity.groups import Group, named_tensors
from stream_prune.sparsity.layout import Layout, gather
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize

T = TypeVar("T")

_DRAWS = 8  # weights are redrawn when the removed units happen to be dead on the whole example
_ABSENT = 0.3  # whole modules that are left out when all groups are tried together
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


class DisprovedError(Exception):
    """Why removing units of a group is not the same as masking them."""


class Outcome(NamedTuple):
    """Outputs of a pass over the example, and the gradients of a random projection of them."""

    outputs: list[Tensor]
    gradients: dict[str, Tensor]


class Trial:
    """A copy in evaluation mode, in double precision where the model allows it.

    Args:
        model: the full model; it is left as it is.
        example: a batch for it.

    Raises:
        ConfigError: the model cannot be copied or run on the example.
    """

    def __init__(self, model: nn.Module, example: Example) -> None:
        self.trained = frozenset(
            name for name, param in model.named_parameters() if param.requires_grad
        )
        try:
            duplicate = copy.deepcopy(model).eval()
        except (RuntimeError, TypeError) as error:
            raise ConfigError(
                f"the model {type(model).__name__} cannot be copied: {error}; "
                "wrap the part of it that can be"
            ) from error
        self.model, self._example = _precise(duplicate, example)
        self._dtype = torch.float32 if self._example is example else torch.float64
        self.measured = self.measure()
        for param in self.model.parameters():
            param.requires_grad_(param.is_floating_point())
        self._drawn: int | None = None

    def forward(self) -> object:
        """Run the example."""
        return self._example.call(self.model)

    def measure(self) -> Measurement:
        """Count what the example costs on the copy as it is now."""
        return measure(self.model, self.forward, self._example.rows, self.trained)

    def compare(self, groups: Sequence[Group], *, one: bool = False) -> Plan:
        """Remove random units of every group, against masking them: half of them, or one.

        Weights are random (a fresh model's zeros would prove nothing).

        Returns:
            The plan that was tried.

        Raises:
            DisprovedError: outputs or gradients differ, or nothing could be seen.
        """
        layout = Layout(self.model, groups)
        for seed in range(_DRAWS):
            generator = torch.Generator().manual_seed(seed)
            plan = Plan({group.name: _some(group.units, generator, one) for group in groups})
            self.draw(seed)
            with torch.no_grad():
                full = _outputs(self.forward())
            masked = self._masked(layout, plan, seed)
            if one or not _close(masked.outputs, full, 1e-3):  # a single one may not matter much
                break
        else:
            raise DisprovedError("on the example its units have no influence on the output")
        removed = self._removed(layout, plan, lambda: self._backward(seed))
        tolerance = _TOLERANCE[self._dtype]
        if not _close(removed.outputs, masked.outputs, tolerance):
            raise DisprovedError("something between it and its consumers mixes its units")
        kept = layout.kept(plan)
        for name, gradient in removed.gradients.items():
            wanted = gather(masked.gradients[name], kept.get(name, {}))
            if not _close([gradient], [wanted], tolerance):
                raise DisprovedError(f"the gradient of {name!r} changes when units are removed")
        return plan

    def measure_under(self, groups: Sequence[Group], plan: Plan) -> Measurement:
        """Count what the example costs under a plan that has been compared."""
        return self._removed(Layout(self.model, groups), plan, self.measure)

    def _masked(self, layout: Layout, plan: Plan, seed: int) -> Outcome:
        """With the outgoing weights of the plan's removed units at zero; puts them back."""
        tensors = dict(named_tensors(self.model))
        saved: dict[str, Tensor] = {}
        with torch.no_grad():
            for group in layout.groups:
                gone = sorted(set(range(group.units)) - set(plan.units[group.name]))
                for member in group.consumed:
                    tensor = tensors[member.param]
                    saved.setdefault(member.param, tensor.clone())
                    index = member.positions[gone].flatten().to(tensor.device)
                    tensor.index_fill_(member.axis, index, 0.0)
        outcome = self._backward(seed)
        with torch.no_grad():
            for name, value in saved.items():
                tensors[name].copy_(value)
        return outcome

    def _removed(self, layout: Layout, plan: Plan, run: Callable[[], T]) -> T:
        """What ``run`` gives with the units removed; puts them back."""
        mirror, everything = Mirror(), Plan.full(layout.groups)
        resize(self.model, None, layout, mirror, everything, plan)
        failure = ""
        try:
            outcome = run()
        except MODEL_ERRORS as error:
            failure = str(error).partition("\n")[0] or type(error).__name__
        # Only here, where the graph of a failed pass is gone, can parameters be resized.
        resize(self.model, None, layout, mirror, plan, everything)
        if failure:
            raise DisprovedError(f"without some of its units the model fails: {failure}")
        return outcome

    def _backward(self, seed: int) -> Outcome:
        self.model.zero_grad(set_to_none=True)
        output = self.forward()
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for tensor in differentiable(output):
            weight = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            parts.append((tensor * weight.to(tensor)).sum())
        torch.autograd.backward(parts)
        gradients = {  # those of embeddings may be sparse
            name: param.grad.to_dense()
            for name, param in self.model.named_parameters()
            if param.grad is not None
        }
        self.model.zero_grad(set_to_none=True)
        return Outcome(_outputs(output), gradients)

    def draw(self, seed: int) -> None:
        """Random weights, so that nothing is hidden by zeros of a fresh model."""
        if seed == self._drawn:
            return
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, tensor in named_tensors(self.model):
                running = name.rpartition(".")[2] in ("running_mean", "running_var")
                floating = tensor.is_floating_point()
                if not floating or not (running or isinstance(tensor, nn.Parameter)):
                    continue
                drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                if running:  # positive, not far from one
                    drawn = drawn.mul(0.3).exp()
                elif tensor.dim() > 1:
                    drawn *= 1.5 / max(1.0, tensor[0].numel() ** 0.5)
                else:
                    drawn = 0.5 + 0.5 * drawn
                tensor.copy_(drawn)
        self._drawn = seed


def _precise(duplicate: nn.Module, example: Example) -> tuple[nn.Module, Example]:
    """The model and the example in double precision, if the model can run in it."""
    try:
        wide, batch = copy.deepcopy(duplicate).double(), example.double()
        batch.call(wide)
    except MODEL_ERRORS:
        try:
            example.call(duplicate)
        except MODEL_ERRORS as error:
            raise ConfigError(
                f"example: the model {type(duplicate).__name__} cannot be run on it: {error}"
            ) from error
        return duplicate, example
    return wide, batch


def _some(units: int, generator: torch.Generator, one: bool) -> tuple[int, ...]:
    """All but one or half of the units at random, ascending; neither none nor all.

    A single unit, which is a whole module, is left out in the first case, and at random.
    """
    if units == 1:
        absent = one or bool(torch.rand((), generator=generator) < _ABSENT)
        return () if absent else (0,)
    order = torch.randperm(units, generator=generator).tolist()
    return tuple(sorted(order[: units - 1 if one else max(1, units // 2)]))


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
