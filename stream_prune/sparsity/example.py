"""An example batch: how the model is called, and what of its output counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stream_prune.errors import ConfigError

MODEL_ERRORS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What a forward pass raises on inputs that are not for the model."""


class Example:
    """Inputs that the model can be called with.

    Args:
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments; the first axis of
            the first tensor counts examples.

    Raises:
        ConfigError: there is no tensor in it.
    """

    def __init__(self, inputs: Tensor | tuple[Any, ...] | Mapping[str, Any]) -> None:
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        if isinstance(inputs, Mapping):
            self._kwargs = dict(inputs)
        elif isinstance(inputs, (tuple, list)):
            self._args = tuple(inputs)
        else:
            self._args = (inputs,)
        tensors = flatten((self._args, self._kwargs))
        if not tensors or tensors[0].dim() == 0 or len(tensors[0]) == 0:
            raise ConfigError(
                "example: needs a batch as the model takes it: a tensor, a tuple of positional "
                "arguments or a mapping of keyword arguments, with at least one example"
            )
        self.rows = len(tensors[0])

    def call(self, model: nn.Module) -> Any:
        return model(*self._args, **self._kwargs)

    def double(self) -> Example:
        """The same batch with floating tensors in double precision."""
        return Example(_double(self._kwargs or self._args))


def flatten(values: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists and mappings, in order."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, (tuple, list)):
        return [tensor for value in values for tensor in flatten(value)]
    return []


def differentiable(values: Any) -> list[Tensor]:
    """The tensors of a model's output that gradients flow back from."""
    return [tensor for tensor in flatten(values) if tensor.grad_fn is not None]


def _double(values: Any) -> Any:
    if isinstance(values, Tensor):
        if not values.is_floating_point():
            return values
        return values.detach().to(torch.float64).requires_grad_(values.requires_grad)
    if isinstance(values, Mapping):
        return {key: _double(value) for key, value in values.items()}
    if isinstance(values, (tuple, list)):
        return tuple(_double(value) for value in values)
    return values
