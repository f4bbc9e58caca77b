"""Finds candidate groups by experiment: change a layer's units, see which inputs change.

Every layer's output is held at what it was, except that of the layer in question, so only what lies
between it and the next layers is seen. Units are told apart by their binary numbers: for each bit,
those with a 0 there are changed, then those with a 1. An input that answers to one unit alone
changes in exactly one of the two, and the answers spell the unit's number; one that answers to
several changes in both somewhere. That takes 2 log2(units) passes a layer, and needs no knowledge
of the operations in between. What it gives is a guess that :mod:`prove` checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from stream_prune.sparsity.example import flatten
from stream_prune.sparsity.groups import Group, Member

CONV = nn.modules.conv._ConvNd
_NORM = nn.modules.batchnorm._NormBase


class UnclearError(Exception):
    """The experiment did not tell how a layer's units are read."""


class UnitsAreOutputsError(Exception):
    """A layer's units leave the model."""


class Probe:
    """Experiments on a model.

    Args:
        model: a copy that may be hooked, in evaluation mode, with weights that are not trivial.
        forward: runs an example batch through it.
    """

    def __init__(self, model: nn.Module, forward: Callable[[], Any]) -> None:
        self._forward = forward
        modules = dict(model.named_modules())
        self._layers = {n: m for n, m in modules.items() if isinstance(m, (nn.Linear, CONV))}
        self._scales = {n: m for n, m in modules.items() if _per_unit(m)}
        self._held: dict[str, list[Tensor]] = {}
        self._inputs: dict[str, list[Tensor]] = {}
        self._outputs, self._base_inputs = self._pass({}), self._inputs
        self._moves = {
            name: self._change(name, outputs, torch.ones(self._units(name), dtype=torch.bool))[0]
            for name, outputs in self._held.items()
        }

    def group(self, name: str) -> Group:
        """The candidate for the layer ``name``.

        Raises:
            UnitsAreOutputsError: its units leave the model.
            UnclearError: more than these experiments is needed.
        """
        layer = self._layers[name]
        if len(self._held.get(name, [])) != 1 or (isinstance(layer, CONV) and layer.groups > 1):
            raise UnclearError
        produced = [Member(f"{name}.weight", _out_axis(layer), _each(self._units(name)))]
        if layer.bias is not None:
            produced.append(Member(f"{name}.bias", 0, _each(self._units(name))))
        consumed: list[Member] = []
        found, leaves = self._answers(name)
        if leaves:
            raise UnitsAreOutputsError
        for reader, positions in found.items():
            if reader in self._scales:
                held = ("weight", "bias", "running_mean", "running_var")
                tensors = [
                    leaf for leaf in held if getattr(self._scales[reader], leaf, None) is not None
                ]
                produced += [Member(f"{reader}.{leaf}", 0, positions) for leaf in tensors]
                continue
            module = self._layers[reader]
            grouped = isinstance(module, CONV) and module.groups > 1
            if grouped or len(self._held[reader]) != 1:
                raise UnclearError
            if not self._alone(name, reader, positions):
                raise UnclearError
            consumed.append(Member(f"{reader}.weight", 1 - _out_axis(module), positions))
        if not consumed:
            raise UnclearError
        return Group(name, self._units(name), tuple(produced), tuple(consumed))

    def _answers(self, name: str) -> tuple[dict[str, Tensor], bool]:
        """Per reader int64 [units, k], the inputs that answer to each unit; and whether it ends."""
        units, base = self._units(name), self._held[name]
        numbers = torch.arange(units)
        spelled: dict[str, Tensor] = {}
        leaves = False
        for bit in range(max(1, (units - 1).bit_length())):
            with_bit = numbers.bitwise_right_shift(bit).bitwise_and(1).bool()
            ones, ends = self._change(name, base, with_bit)
            zeros, ends_too = self._change(name, base, ~with_bit)
            leaves = leaves or ends or ends_too
            for reader, changed in ones.items():
                if bool((changed & zeros[reader]).any()):
                    raise UnclearError
                seen = torch.where(changed | zeros[reader], changed.long() << bit, -(1 << 40))
                spelled[reader] = spelled.get(reader, torch.zeros_like(seen)) + seen
        found = {
            reader: numbers for reader, numbers in spelled.items() if bool((numbers >= 0).any())
        }
        return {reader: _by_unit(numbers, units) for reader, numbers in found.items()}, leaves

    def _alone(self, name: str, reader: str, positions: Tensor) -> bool:
        """No other layer moves the same inputs: that would couple the two layers' units."""
        return not any(
            bool(moved[reader][positions.flatten()].any())
            for other, moved in self._moves.items()
            if other != name
        )

    def _change(
        self, name: str, base: list[Tensor], which: Tensor
    ) -> tuple[dict[str, Tensor], bool]:
        """Per reader bool [inputs], those that move with some units of a layer; and the output."""
        axis = (
            -1 if isinstance(self._layers[name], nn.Linear) else _channel_axis(self._layers[name])
        )
        moved: dict[str, Tensor] = {}
        ends = False
        for sign in (1.0, -1.0):  # whichever way, an activation function lets one of them through
            generator = torch.Generator().manual_seed(0)
            changed = []
            for output in base:
                size = 40 * torch.rand(output.shape, generator=generator, dtype=torch.float64)
                values = (sign * (size + 0.5)).to(output)
                shape = [1] * output.dim()
                shape[axis] = -1
                changed.append(torch.where(which.to(output.device).view(shape), values, output))
            outputs = self._pass({name: changed})
            ends = ends or any(
                not torch.equal(a, b) for a, b in zip(outputs, self._outputs, strict=True)
            )
            for reader, inputs in self._base_inputs.items():
                if len(inputs) != len(self._inputs.get(reader, [])):
                    raise UnclearError
                moving = [
                    _differs(self._reading_axis(reader), a, b)
                    for a, b in zip(inputs, self._inputs[reader], strict=True)
                ]
                either = torch.stack(moving).any(dim=0)
                moved[reader] = moved[reader] | either if reader in moved else either
        return moved, ends

    @torch.no_grad()
    def _pass(self, changed: dict[str, list[Tensor]]) -> list[Tensor]:
        """Run the example; the first time outputs are recorded, from then on they are held."""
        recording = not self._held
        recorded: dict[str, list[Tensor]] = {}
        self._inputs = {}
        handles: list[RemovableHandle] = []

        def hook(name: str, holds: bool) -> Callable[..., Tensor | None]:
            def after(
                _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
            ) -> Tensor | None:
                given: Tensor = args[0] if args else kwargs["input"]
                self._inputs.setdefault(name, []).append(given.clone())
                if not holds:
                    return None
                calls = recorded.setdefault(name, [])
                calls.append(output.clone())  # a model may go on to add to it in place
                if recording:
                    return None
                return changed.get(name, self._held[name])[len(calls) - 1].clone()

            return after

        for name, module in (*self._layers.items(), *self._scales.items()):
            watch = hook(name, name in self._layers)
            handles.append(module.register_forward_hook(watch, with_kwargs=True))
        try:
            output = self._forward()
        finally:
            for handle in handles:
                handle.remove()
        if recording:
            self._held = recorded
        return [tensor.clone() for tensor in flatten(output)]

    def _units(self, name: str) -> int:
        return self._layers[name].weight.shape[_out_axis(self._layers[name])]

    def _reading_axis(self, name: str) -> int:
        module = self._layers.get(name, self._scales.get(name))
        return 1 if name in self._scales else _channel_axis(module)


def _per_unit(module: nn.Module) -> bool:
    return isinstance(module, _NORM) or (isinstance(module, nn.PReLU) and module.num_parameters > 1)


def _out_axis(module: nn.Module) -> int:
    return 1 if isinstance(module, CONV) and module.transposed else 0


def _channel_axis(module: nn.Module | None) -> int:
    return -1 - len(module.kernel_size) if isinstance(module, CONV) else -1


def _each(units: int) -> Tensor:
    return torch.arange(units)[:, None]


def _differs(axis: int, a: Tensor, b: Tensor) -> Tensor:
    return (a != b).movedim(axis, 0).flatten(1).any(dim=1).cpu()


def _by_unit(numbers: Tensor, units: int) -> Tensor:
    """From the unit of each input (negative: none) to the inputs of each unit: int64 [units, k]."""
    inputs = (numbers >= 0).nonzero().flatten()
    order = inputs[torch.argsort(numbers[inputs], stable=True)]
    counts = torch.bincount(numbers[inputs], minlength=units)
    if len(counts) != units or bool((counts != counts[0]).any()):
        raise UnclearError
    return order.reshape(units, -1)
