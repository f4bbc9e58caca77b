"""The twin: a dense model trained beside the small one, which is derived from it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.layout import Kept, Layout, gather
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import check, resize


@runtime_checkable
class DerivingPolicy(Protocol):
    """A policy whose small model is derived from a twin."""

    def soft_weight(self, state: Any) -> float:
        """Weight of the twin's scores as soft targets of the derived model at this moment."""
        ...


class Twin:
    """A full-size model and its optimizer, both in training beside the small model.

    The user trains it on the same batches, before ``controller.step()``; the controller scores its
    units and reads its weights and optimizer state, and never writes to it. It stands where the
    mirror stands otherwise: what the small model lacks is alive in it.

    Args:
        model: as the controlled model is when it is full; not that model itself.
        optimizer: of the same class as that of the controlled model.

    Raises:
        ConfigError: the optimizer does not train the model.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        mine = {id(param) for param in model.parameters()}
        if not any(id(p) in mine for group in optimizer.param_groups for p in group["params"]):
            raise ConfigError("twin: its optimizer holds no parameter of its model")

    def check(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Whether a small ``model`` can be derived, asked while that is full.

        Raises:
            ConfigError: they are the same model, or not of one kind.
        """
        shapes, mine = _shapes(model), _shapes(self.model)
        if model is self.model or shapes != mine:
            differing = [name for name in shapes | mine if shapes.get(name) != mine.get(name)]
            what = f"differs in {', '.join(differing[:3])}" if differing else "is the same object"
            raise ConfigError(
                f"twin: its model {what}: it must be a copy of the full model of its own"
            )
        if type(optimizer) is not type(self.optimizer):
            raise ConfigError(
                f"twin: its optimizer is {type(self.optimizer).__name__}, the model's "
                f"{type(optimizer).__name__}: the state of one would not fit the other"
            )

    @torch.no_grad()
    def derive(
        self, model: nn.Module, optimizer: Optimizer, layout: Layout, old: Plan, new: Plan
    ) -> None:
        """Make ``model`` the part of the twin that the plan ``new`` keeps, in place.

        Every tensor and every optimizer state is taken over; of those along which units are kept
        or removed, the kept part.

        Args:
            model: the small model, under the plan ``old``.
            optimizer: trains it.
            layout: its groups.

        Raises:
            RunError: as :func:`~stream_prune.sparsity.surgery.resize`; nothing has been changed.
        """
        check(model, optimizer, layout, old, new)
        resize(model, None, layout, self, old, new)
        kept = layout.kept(new)
        sources = dict(named_tensors(self.model))
        for name, live in named_tensors(model):
            source, part = sources[name], kept.get(name, {})
            live.copy_(gather(source, part))
            if isinstance(live, nn.Parameter):
                self._take_state(optimizer, source, live, part)

    def put(self, key: str, shape: tuple[int, ...], kept: Kept, live: Tensor) -> None:
        """Nothing: what the small model has learned goes with it, the twin has learned too."""

    def take(self, key: str, kept: Kept, device: torch.device) -> Tensor:
        """The part of the tensor ``key`` that a plan keeps, as a new tensor on ``device``."""
        found = dict(named_tensors(self.model))
        return gather(found[key].detach(), kept).to(device)

    def _take_state(self, optimizer: Optimizer, source: Tensor, live: Tensor, kept: Kept) -> None:
        optimizer.state.pop(live, None)
        for key, value in self.optimizer.state.get(source, {}).items():
            if isinstance(value, Tensor):
                optimizer.state[live][key] = (
                    gather(value, kept) if value.shape == source.shape else value.clone()
                )
            else:
                optimizer.state[live][key] = value

    @property
    def nbytes(self) -> int:
        """Memory of its tensors and its optimizer's state, in bytes."""
        tensors = [tensor for _, tensor in named_tensors(self.model)]
        for state in self.optimizer.state.values():
            tensors += [value for value in state.values() if isinstance(value, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def check_twin(twin: Twin | None, policy: object, model: nn.Module, optimizer: Optimizer) -> None:
    """Whether twin, policy and model go together.

    Raises:
        ConfigError: a twin is missing or superfluous, or does not fit the model.
    """
    name = type(policy).__name__
    if isinstance(policy, DerivingPolicy) and twin is None:
        raise ConfigError(
            f"policy {name} derives the small model from a dense one: it needs a twin, as in "
            "SparsityController(..., twin=Twin(copy, optimizer_of_copy))"
        )
    if twin is not None:
        if not isinstance(policy, DerivingPolicy):
            raise ConfigError(f"twin: policy {name} derives nothing from it: leave it out")
        twin.check(model, optimizer)


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in named_tensors(model)}
