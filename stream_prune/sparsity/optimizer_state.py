"""Optimizer state that has an entry per weight."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import RunError


def element_states(optimizer: Optimizer | None, name: str, param: Tensor) -> dict[str, Tensor]:
    """The entries of the optimizer's state that have the parameter's shape, by name.

    Args:
        optimizer: None: there is none, and nothing is found.
        name: of the parameter, for the message.
        param: the parameter.

    Raises:
        RunError: it holds state of another shape for the parameter (scalars are no such state).
    """
    if optimizer is None or param not in optimizer.state:
        return {}
    found: dict[str, Tensor] = {}
    for key, value in optimizer.state[param].items():
        if isinstance(value, Tensor) and value.shape == param.shape:
            found[key] = value
        elif not (_is_scalar(value) or (isinstance(value, Tensor) and value.dim() == 0)):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise RunError(
                f"optimizer {type(optimizer).__name__}: state {key!r} of parameter {name!r} is "
                f"{shape}, neither a scalar nor of the parameter's shape {tuple(param.shape)}: "
                "it cannot follow the weights; use an optimizer with element-wise state "
                "(Adam, AdamW, SGD, Adagrad, RMSprop)"
            )
    return found


def untrained(model: nn.Module, optimizer: Optimizer) -> frozenset[str]:
    """Names of the parameters that require gradients and that the optimizer does not hold."""
    held = {id(param) for group in optimizer.param_groups for param in group["params"]}
    return frozenset(
        name
        for name, param in model.named_parameters(remove_duplicate=False)
        if param.requires_grad and id(param) not in held
    )


def first_value(optimizer: Optimizer | None, param: Tensor, key: str) -> float:
    """What an element of a state is before the first step: 0, or where Adagrad's sums begin."""
    if optimizer is None or key != "sum":
        return 0.0
    groups: list[dict[str, Any]] = optimizer.param_groups
    mine = next(group for group in groups if any(other is param for other in group["params"]))
    return float(mine.get("initial_accumulator_value", 0.0))


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (int, float, bool))
