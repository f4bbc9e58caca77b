"""Experiments on a model: change what some units say, see which inputs of other layers move.

Every layer's output is held at what it was, except that of the layer in question, so only what lies
between it and the next layers is seen, whatever operations these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from stream_prune.sparsity.example import flatten
from stream_prune.sparsity.groups import named_tensors

CONV = nn.modules.conv._ConvNd
_NORM = nn.modules.batchnorm._NormBase
OPAQUE = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.Bilinear,
)
"""Layers whose inputs are watched and that are not looked into."""

Moves: TypeAlias = dict[str, Tensor]
"""Per reader bool [inputs]: those that moved."""


class UnclearError(Exception):
    """The experiment did not tell how a layer's units are read."""


class Experiment:
    """A model whose layers' outputs can be changed one at a time.

    Args:
        model: a copy that may be hooked, in evaluation mode, with weights that are not trivial.
        forward: runs an example batch through it.

    Attributes:
        layers: Linear and Conv layers, whose outputs are held.
        scales: modules that pass every unit on by itself, with weights of their own for each.
        opaque: layers that read units in ways of their own.
        vectors: parameters and buffers of the user's own modules that have a single axis longer
            than one.
        reached: layers that the example runs through.
        moves: what moves when all units of a layer, or all entries of a vector, change; nothing
            where that is unclear.
    """

    def __init__(self, model: nn.Module, forward: Callable[[], Any]) -> None:
        self._forward = forward
        modules = dict(model.named_modules())
        within = tuple(f"{n}." for n, m in modules.items() if isinstance(m, OPAQUE))
        self.opaque = {n: m for n, m in modules.items() if isinstance(m, OPAQUE)}
        self.scales = {n: m for n, m in modules.items() if _per_unit(m)}
        self.layers = {
            n: m
            for n, m in modules.items()
            if isinstance(m, (nn.Linear, CONV)) and n not in self.scales
        }
        known = {*self.opaque, *self.scales, *self.layers}
        self.vectors = {
            name: tensor
            for name, tensor in named_tensors(model)
            if name.rpartition(".")[0] not in known
            and not name.startswith(within)
            and tensor.is_floating_point()
            and sum(length > 1 for length in tensor.shape) == 1
        }
        self._held: dict[str, list[Tensor]] = {}
        self._inputs: dict[str, list[Tensor]] = {}
        self._outputs, self._base_inputs = self._pass({}), self._inputs
        self.reached = frozenset(self._held)
        self.moves = {name: self._all_of(name) for name in (*self.reached, *self.vectors)}

    def units(self, name: str) -> int:
        """Units of a layer, or entries of a vector."""
        if name in self.vectors:
            return self.vectors[name].numel()
        return int(self.layers[name].weight.shape[out_axis(self.layers[name])])

    def change(self, name: str, which: Tensor) -> tuple[Moves, Tensor]:
        """What moves when some units of a layer or entries of a vector change.

        Args:
            name: of the layer or the vector.
            which: bool [units].

        Returns:
            Per reader the inputs that move, and bool [outputs]: which of the model's outputs do.
        """
        moved: Moves = {}
        ends = torch.zeros(sum(output.numel() for output in self._outputs), dtype=torch.bool)
        for sign in (1.0, -1.0):  # whichever way, an activation function lets one of them through
            outputs = self._changed(name, which, sign)
            ends |= torch.cat(
                [(a != b).flatten().cpu() for a, b in zip(outputs, self._outputs, strict=True)]
            )
            for reader, inputs in self._base_inputs.items():
                if len(inputs) != len(self._inputs.get(reader, [])):
                    raise UnclearError
                axis = self._reading_axis(reader)
                moving = [
                    _differs(axis, a, b) for a, b in zip(inputs, self._inputs[reader], strict=True)
                ]
                if len({len(each) for each in moving}) > 1:
                    raise UnclearError
                either = torch.stack(moving).any(dim=0)
                moved[reader] = moved[reader] | either if reader in moved else either
        return moved, ends

    def saturates(self, name: str, reader: str) -> bool:
        """Whether a layer's units stop to matter to a reader when they are large: a gate's do."""
        everything = torch.ones(self.units(name), dtype=torch.bool)
        for sign in (1.0, -1.0):
            self._changed(name, everything, 1e4 * sign)
            large = self._inputs.get(reader, [])
            self._changed(name, everything, 1e5 * sign)
            larger = self._inputs.get(reader, [])
            if len(large) != len(larger):
                return False
            if not all(torch.equal(a, b) for a, b in zip(large, larger, strict=True)):
                return False
        return True

    def _all_of(self, name: str) -> Moves:
        try:
            return self.change(name, torch.ones(self.units(name), dtype=torch.bool))[0]
        except UnclearError:
            return {}

    def _changed(self, name: str, which: Tensor, size: float) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)

        def values(like: Tensor) -> Tensor:
            drawn = torch.rand(like.shape, generator=generator, dtype=torch.float64)
            return (size * (40 * drawn + 0.5)).to(like)

        if name in self.vectors:
            vector = self.vectors[name]
            saved = vector.detach().clone()
            chosen = which.to(vector.device).view(vector.shape)
            try:
                vector.data.copy_(torch.where(chosen, values(saved), saved))
                return self._pass({})
            finally:
                vector.data.copy_(saved)
        axis = channel_axis(self.layers[name])
        changed = []
        for output in self._held[name]:
            shape = [1] * output.dim()
            shape[axis] = -1
            chosen = which.to(output.device).view(shape)
            changed.append(torch.where(chosen, values(output), output))
        return self._pass({name: changed})

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
                given: Tensor = args[0] if args else flatten(kwargs)[0]
                self._inputs.setdefault(name, []).append(given.clone())
                if not holds:
                    return None
                calls = recorded.setdefault(name, [])
                calls.append(output.clone())  # a model may go on to add to it in place
                if recording:
                    return None
                held = changed.get(name, self._held.get(name, []))
                if len(calls) > len(held):  # the way through the model hangs on values
                    raise UnclearError
                return held[len(calls) - 1].clone()

            return after

        for name, module in (*self.layers.items(), *self.scales.items(), *self.opaque.items()):
            watch = hook(name, name in self.layers)
            handles.append(module.register_forward_hook(watch, with_kwargs=True))
        try:
            output = self._forward()
        finally:
            for handle in handles:
                handle.remove()
        if recording:
            self._held = recorded
        return [tensor.clone() for tensor in flatten(output)]

    def _reading_axis(self, name: str) -> int:
        if name in self.layers:
            return channel_axis(self.layers[name])
        scale = self.scales.get(name)
        if scale is None:
            return -1
        return channel_axis(scale) if isinstance(scale, CONV) else 1


def out_axis(layer: nn.Module) -> int:
    """The axis of a layer's weight that its units lie along."""
    return 1 if isinstance(layer, CONV) and layer.transposed else 0


def channel_axis(layer: nn.Module) -> int:
    """The axis of a layer's inputs and outputs that their channels lie along."""
    return -1 - len(layer.kernel_size) if isinstance(layer, CONV) else -1


def depthwise(module: nn.Module) -> bool:
    """A convolution with a filter of its own for every channel."""
    return isinstance(module, CONV) and module.groups == module.in_channels == module.out_channels


def _per_unit(module: nn.Module) -> bool:
    if isinstance(module, CONV):
        return module.groups > 1 and depthwise(module)
    return isinstance(module, _NORM) or (isinstance(module, nn.PReLU) and module.num_parameters > 1)


def _differs(axis: int, a: Tensor, b: Tensor) -> Tensor:
    if a.shape != b.shape:
        raise UnclearError
    return (a != b).movedim(axis, 0).flatten(1).any(dim=1).cpu()
