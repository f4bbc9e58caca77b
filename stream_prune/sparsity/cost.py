"""What a plan costs: MACs per example and parameters, from shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stream_prune.errors import ConfigError
from stream_prune.sparsity.example import MODEL_ERRORS, Example
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.whole import inside


class Cost(NamedTuple):
    """Multiply-accumulates per example (forward; forward and backward) and parameters."""

    macs_inference: int
    macs_training: int
    parameters: int


@dataclass(frozen=True)
class Measurement:
    """What one forward pass of an example batch was seen to multiply.

    Attributes:
        reuse: per layer weight how often each of its entries is used per example.
        passes: per layer weight how many products of the forward's size a training step makes:
            the forward, the weight's gradient, the input's gradient, as far as each is needed.
        other: MACs per example outside of those layers (attention, dot interactions).
        total: all MACs per example.
    """

    reuse: Mapping[str, float]
    passes: Mapping[str, int]
    other: float
    total: float


def measure(
    model: nn.Module, forward: Callable[[], Any], batch: int, trained: frozenset[str]
) -> Measurement:
    """Count the multiply-accumulates of a forward pass with torch's FLOP counter.

    Args:
        model: the model that ``forward`` runs.
        forward: runs the example batch; its graph tells which inputs need gradients.
        batch: examples in the batch.
        trained: names of the parameters that are trained.
    """
    counter = FlopCounterMode(display=False)
    flops: dict[str, int] = {}
    passes: dict[str, int] = {}
    started: dict[str, int] = {}
    handles = []
    sizes: dict[str, int] = {}
    plain = dict(model.named_parameters(remove_duplicate=False))
    for path, module in model.named_modules():
        if not isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            continue
        name = f"{path}.weight" if path else "weight"
        if name not in plain:  # a computed weight: counted with what is outside of the layers
            continue
        sizes[name] = module.weight.numel()

        def before(_: nn.Module, __: Any, name: str = name) -> None:
            started[name] = counter.get_total_flops()

        def after(_: nn.Module, inputs: tuple[Tensor, ...], __: Any, name: str = name) -> None:
            spent = counter.get_total_flops() - started[name]
            flops[name] = flops.get(name, 0) + spent
            passes[name] = 1 + (name in trained) + bool(inputs and inputs[0].requires_grad)

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with counter:
            forward()
    finally:
        for handle in handles:
            handle.remove()
    total = counter.get_total_flops()
    reuse = {name: spent / 2 / batch / sizes[name] for name, spent in flops.items()}
    other = (total - sum(flops.values())) / 2 / batch
    return Measurement(reuse, passes, other, total / 2 / batch)


@dataclass(frozen=True)
class _Term:
    """A matrix product: (constant + sum of per-unit lengths x width) per axis, times reuse.

    ``within``: the whole module that it is a part of; without that it is not made.
    """

    constants: tuple[int, ...]
    slopes: tuple[Mapping[str, int], ...]
    reuse: float
    passes: int
    within: str | None = None

    def size(self, widths: Mapping[str, int]) -> int:
        return prod(
            constant + sum(per_unit * widths[group] for group, per_unit in slopes.items())
            for constant, slopes in zip(self.constants, self.slopes, strict=True)
        )


@dataclass(frozen=True)
class CostModel:
    """The cost of any plan as a sum of products of widths; evaluates in microseconds.

    Attributes:
        terms: one per layer weight that is multiplied.
        tensors: one per parameter, for counting parameters (reuse 1).
        other: MACs per example outside of the layers, in the full model.
        other_per_unit: how much of ``other`` each unit of a group stands for (attention heads); of
            a whole module all that is inside of it at full width.
        units: full width of every group.
        whole: the groups that are whole modules.
        within: groups inside of a whole module, with its name.
    """

    terms: tuple[_Term, ...]
    tensors: tuple[_Term, ...]
    other: float
    other_per_unit: Mapping[str, float]
    units: Mapping[str, int]
    whole: tuple[str, ...] = ()
    within: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        model: nn.Module,
        layout: Layout,
        measured: Measurement,
        other_per_unit: Mapping[str, float],
    ) -> CostModel:
        """From the full model's shapes, its groups and a measured forward pass."""
        every = dict(model.named_parameters(remove_duplicate=False))
        whole = tuple(group.name for group in layout.groups if group.whole)
        terms = tuple(
            replace(
                _term(layout, name, tuple(every[name].shape)),
                reuse=reuse,
                passes=measured.passes[name],
                within=inside(name, whole),
            )
            for name, reuse in measured.reuse.items()
        )
        tensors = tuple(
            _term(layout, name, tuple(tensor.shape)) for name, tensor in model.named_parameters()
        )
        units = {group.name: group.units for group in layout.groups}
        within = {name: part for name in units if (part := inside(name, whole)) is not None}
        return cls(terms, tensors, measured.other, dict(other_per_unit), units, whole, within)

    def macs(self, widths: Mapping[str, int]) -> float:
        """MACs per example of a forward pass at the given widths."""
        made = self._made(widths)
        return sum(term.size(widths) * term.reuse for term in made) + self._other(widths)

    def cost(self, plan: Plan) -> Cost:
        """The full account of a plan."""
        widths = plan.widths
        made = self._made(widths)
        training = sum(term.size(widths) * term.reuse * term.passes for term in made)
        return Cost(
            macs_inference=round(self.macs(widths)),
            macs_training=round(training + 3 * self._other(widths)),
            parameters=sum(tensor.size(widths) for tensor in self.tensors),
        )

    def share(self, widths: Mapping[str, int]) -> float:
        """MACs at the given widths as a share of the full model's."""
        return self.macs(widths) / self._full

    @cached_property
    def _full(self) -> float:
        return self.macs(self.units)

    def parameter_share(self, widths: Mapping[str, int]) -> float:
        """Parameters at the given widths as a share of the full model's."""
        here, full = (sum(t.size(w) for t in self.tensors) for w in (widths, self.units))
        return here / full

    def _made(self, widths: Mapping[str, int]) -> Iterable[_Term]:
        """The products that are made at these widths."""
        if not self.whole:
            return self.terms
        return [term for term in self.terms if term.within is None or widths[term.within]]

    def _other(self, widths: Mapping[str, int]) -> float:
        removed = (
            slope * (self.units[group] - widths[group])
            for group, slope in self.other_per_unit.items()
            if group not in self.within or widths[self.within[group]]
        )
        return self.other - sum(removed)


def dense_cost(model: nn.Module, example: Example) -> Cost:
    """What a model costs as it is, measured on an example; the model is left as it was.

    Raises:
        ConfigError: the model cannot be run on the example.
    """
    trained = frozenset(name for name, param in model.named_parameters() if param.requires_grad)
    training = [module for module in model.modules() if module.training]
    model.eval()  # counting must not move running statistics
    try:
        measured = measure(model, lambda: example.call(model), example.rows, trained)
    except MODEL_ERRORS as error:
        raise ConfigError(
            f"example: the model {type(model).__name__} cannot be run on it: {error}"
        ) from error
    finally:
        for module in training:
            module.training = True
    return CostModel.build(model, Layout(model, ()), measured, {}).cost(Plan.full(()))


def _term(layout: Layout, name: str, shape: tuple[int, ...]) -> _Term:
    constants, slopes = list(shape), [dict[str, int]() for _ in shape]
    for number, axis in layout.axes.get(name, {}).items():
        for group, positions in axis.parts:
            units, per_unit = positions.shape
            constants[number] -= units * per_unit
            slopes[number][group] = slopes[number].get(group, 0) + per_unit
    return _Term(tuple(constants), tuple(slopes), 1.0, 0)
